// The page: controls, the sentence, the chart and the table follow what is asked for.
const SCALES = { max_ms: 1, min_figure: 1, max_params: 1e6 };
const input = (name) => document.getElementById(name);
const table = document.getElementById("backbones");
const rows = [...table.tBodies[0].rows];

function asked() {
  const limits = Object.entries(SCALES).map(([name, scale]) =>
    [name, input(name).value === "" || !input(name).checkValidity() ? null : Number(input(name).value) * scale]);
  return { margin: DATA.constraints.margin, ...Object.fromEntries(limits) };
}

function show(view) {
  const now = asked();
  const answer = choose(DATA.options, DATA.pairs, now);
  const [first, ...rest] = sentence(DATA, now).split(". ");
  document.getElementById("answer").textContent = `${first.replace(/\.$/, "")}.`;
  document.getElementById("reserve").textContent = rest.join(". ");
  rows.forEach((row, i) => {
    row.classList.toggle("taken", answer !== null && answer.taken === i);
    row.classList.toggle("barred", !meets(DATA.options[i], now));
  });
  const able = DATA.options.filter((option) => meets(option, now)).map((option) => option.name);
  view.signal("able", able).signal("taken", answer === null ? "" : DATA.options[answer.taken].name);
  const timed = DATA.options.some((option) => option.ms !== null);
  view.signal("max_ms", timed ? now.max_ms : null).signal("min_figure", now.min_figure).runAsync();
}

for (const [name, scale] of Object.entries(SCALES)) {
  const value = DATA.constraints[name];
  if (value !== null) input(name).value = value / scale;
}
makeTable(table, { columnDefs: [{ targets: "number", type: "empty-last" }] });
Promise.all(Object.entries(DATA.charts).map(([id, spec]) => drawChart(id, spec))).then(([frontier]) => {
  show(frontier.view);
  input("asked").addEventListener("input", () => show(frontier.view));
});
input("asked").addEventListener("submit", (event) => event.preventDefault());
