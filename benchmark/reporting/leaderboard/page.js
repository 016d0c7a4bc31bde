const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const one = (selector, root = document) => root.querySelector(selector);

// Sorting: the first click on a heading puts the best first; rows without a value stay last (DataTables' empty text).
function board(section) {
  const headings = all("thead th", one(".leaderboard", section));
  const options = headings.map((heading, target) => {
    const high = heading.dataset.best === "high";
    return { targets: target, type: heading.classList.contains("number") ? "empty-last" : undefined, orderSequence: high ? ["desc", "asc"] : ["asc", "desc"] };
  });
  const table = makeTable(one(".leaderboard", section), { columnDefs: options });
  return { section, table, costs: costs(section) };
}

// A chart at a time: against the cost that is chosen.
function costs(section) {
  const charts = DATA.charts[section.id];
  const box = one(".costs", section);
  const chart = one(".chart", section);
  const draw = (name) => drawChart(chart.id, charts[name]);
  Object.keys(charts).forEach((name, number) => {
    const label = document.createElement("label");
    const input = Object.assign(document.createElement("input"), { type: "radio", name: `cost-${section.id}`, value: name, checked: number === 0 });
    const shown = Object.assign(document.createElement("span"), { textContent: name });
    label.append(input, shown);
    box.append(label);
    input.addEventListener("change", () => draw(name));
    if (number === 0) draw(name);
  });
  chart.hidden = !Object.keys(charts).length;
}

function unfold(button, table) {
  const line = button.closest("tr");
  const row = table.row(line);
  const open = button.getAttribute("aria-expanded") !== "true";
  if (open) row.child(one(`template[data-row="${line.dataset.row}"]`, line.closest(".board")).content.cloneNode(true).firstElementChild).show();
  else row.child.hide();
  button.setAttribute("aria-expanded", open);
}

// Filters: by task, and by a part of the backbone's name.
function filter(boards) {
  const task = one("[name=task]:checked").value;
  const name = one("#backbone").value.trim().toLowerCase();
  for (const { section, table } of boards) {
    table.rows().every(function () { this.node().dataset.name ??= this.node().cells[0].firstChild.textContent.trim().toLowerCase(); });
    table.search.fixed("name", (text, data, index) => table.row(index).node().dataset.name.includes(name)).draw();
    const found = table.rows({ search: "applied" }).count();
    section.hidden = !found || (task !== "" && section.dataset.task !== task);
  }
  all(".part").forEach((part) => { part.hidden = !one(".board:not([hidden])", part); });
  one("#nothing").hidden = Boolean(one(".board:not([hidden])"));
}

const boards = all(".board").map(board);
for (const { section, table } of boards) {
  section.addEventListener("click", (event) => {
    const button = event.target.closest(".unfold");
    if (button) unfold(button, table);
  });
}
one("#filters")?.addEventListener("input", () => filter(boards));
one("#filters")?.addEventListener("submit", (event) => event.preventDefault());
