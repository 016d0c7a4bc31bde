"use strict";
const DATA = JSON.parse(document.getElementById("data").textContent);

// Colours: as the system has them, light, dark; kept where the browser keeps anything for files.
const THEMES = ["auto", "light", "dark"];
const THEME_NAMES = { auto: "as the system has them", light: "light", dark: "dark" };

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  const button = document.getElementById("theme");
  button.textContent = `◐ ${theme[0].toUpperCase()}${theme.slice(1)}`;
  button.setAttribute("aria-label", `Colours: ${THEME_NAMES[theme]}`);
}

function storedTheme() {
  try { return localStorage.getItem("theme"); } catch { return null; }
}

setTheme(THEMES.includes(storedTheme()) ? storedTheme() : "auto");
document.getElementById("theme").addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
  setTheme(next);
  try { localStorage.setItem("theme", next); } catch { /* a page without storage forgets it */ }
});

function drawChart(id, spec) {
  return vegaEmbed(`#${id}`, spec, { ast: true, actions: false, renderer: "svg", tooltip: { theme: "custom" } });
}

// Rows without a value stay last, whichever way a column is sorted.
const isNone = (value) => value === "" || Number.isNaN(Number(value ?? undefined));
for (const [way, sign] of [["asc", 1], ["desc", -1]]) {
  jQuery.fn.dataTable.ext.type.order[`empty-last-${way}`] = (a, b) =>
    isNone(a) - isNone(b) || (isNone(a) ? 0 : sign * (a - b));
}

function makeTable(table, options) {
  const layout = { topStart: null, topEnd: null, bottomStart: null, bottomEnd: null };
  return new ITable(table, { paging: false, info: false, order: [], autoWidth: false, layout, ...options }).dt;
}
