
"use strict";
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const one = (selector, root = document) => root.querySelector(selector);

// Sorting: the first click on a heading puts the best first; rows without a value stay last.
function value(body, column) {
  return body.rows[0].cells[column].dataset.value;
}

function compare(a, b, numeric) {
  return numeric ? a - b : a.localeCompare(b, "en", { numeric: true });
}

function sort(heading) {
  const table = heading.closest("table");
  const best = heading.dataset.best === "high" ? "descending" : "ascending";
  const other = best === "descending" ? "ascending" : "descending";
  const order = heading.getAttribute("aria-sort") === best ? other : best;
  const sign = order === "ascending" ? 1 : -1;
  const column = heading.cellIndex;
  const numeric = heading.classList.contains("number");
  const bodies = [...table.tBodies].sort((first, second) => {
    const a = value(first, column), b = value(second, column);
    if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
    return sign * compare(a, b, numeric);
  });
  all("[aria-sort]", table).forEach((old) => old.removeAttribute("aria-sort"));
  heading.setAttribute("aria-sort", order);
  table.append(...bodies);
}

function unfold(button) {
  const open = button.getAttribute("aria-expanded") !== "true";
  button.setAttribute("aria-expanded", open);
  all(".member", button.closest("tbody")).forEach((row) => { row.hidden = !open; });
}

// Filters: by task, and by a part of the backbone's name.
function filter() {
  const task = one("[name=task]:checked").value;
  const name = one("#backbone").value.trim().toLowerCase();
  for (const board of all(".board")) {
    let found = 0;
    for (const body of all("tbody", board)) {
      body.hidden = !body.dataset.name.includes(name);
      found += !body.hidden;
      all(`.point[data-row="${body.dataset.row}"]`, board).forEach((point) => point.classList.toggle("faded", body.hidden));
    }
    board.hidden = !found || (task !== "" && board.dataset.task !== task);
  }
  all(".part").forEach((part) => { part.hidden = !one(".board:not([hidden])", part); });
  one("#nothing").hidden = Boolean(one(".board:not([hidden])"));
}

// Plots: the mark under the pointer or in focus tells its run, and the run's row lights up.
function light(mark, on) {
  const row = mark.dataset.row;
  if (row === undefined) return;
  all(`[data-row="${row}"]`, mark.closest(".board")).forEach((part) => part.classList.toggle("lit", on));
}

function show(mark) {
  const tip = one("#tip");
  tip.replaceChildren(...mark.dataset.tip.split("\n").map((line) => {
    const part = document.createElement("div");
    part.textContent = line;
    return part;
  }));
  tip.hidden = false;
  const at = one(".target", mark).getBoundingClientRect();
  const left = at.right + tip.offsetWidth + 4 > innerWidth ? at.left - tip.offsetWidth : at.right;
  const top = Math.min(at.top, innerHeight - tip.offsetHeight - 4);
  tip.style.left = `${Math.max(4, Math.min(left, innerWidth - tip.offsetWidth - 4))}px`;
  tip.style.top = `${Math.max(4, top)}px`;
  light(mark, true);
}

function hide(mark) {
  one("#tip").hidden = true;
  light(mark, false);
}

// Colours: as the system has them, light, dark; kept where the browser keeps anything for files.
const THEMES = ["auto", "light", "dark"];
const NAMES = { auto: "as the system has them", light: "light", dark: "dark" };

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  const button = one("#theme");
  button.textContent = `◐ ${theme[0].toUpperCase()}${theme.slice(1)}`;
  button.setAttribute("aria-label", `Colours: ${NAMES[theme]}`);
}

function stored() {
  try { return localStorage.getItem("theme"); } catch { return null; }
}

function store(theme) {
  try { localStorage.setItem("theme", theme); } catch { /* a page without storage forgets it */ }
}

setTheme(THEMES.includes(stored()) ? stored() : "auto");
one("#theme").addEventListener("click", () => {
  const next = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % THEMES.length];
  setTheme(next);
  store(next);
});
all("thead th:has(button)").forEach((heading) => one("button", heading).addEventListener("click", () => sort(heading)));
all(".unfold").forEach((button) => button.addEventListener("click", () => unfold(button)));
all("figure .point").forEach((mark) => {
  ["pointerenter", "focus"].forEach((event) => mark.addEventListener(event, () => show(mark)));
  ["pointerleave", "blur"].forEach((event) => mark.addEventListener(event, () => hide(mark)));
});
document.addEventListener("keydown", (event) => { if (event.key === "Escape") one("#tip").hidden = true; });
one("#filters")?.addEventListener("input", filter);
one("#filters")?.addEventListener("submit", (event) => event.preventDefault());
