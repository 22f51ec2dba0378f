const FIRST_CELLS = 100;
const CELL_COLUMNS = [
  { heading: "state", of: (cell) => cell[1] },
  { heading: "cell", of: (cell) => cell[0] },
  { heading: "row", of: (cell) => cell[2] },
  { heading: "seed", of: (cell) => cell[3], numeric: true },
  { heading: "training (s)", of: (cell) => cell[4], numeric: true },
];

/** The list of cells: failed ones first, filtered by state and words, sorted by any column. */
function cellList(place, cells) {
  let [order, column, everything] = ["none", 0, false];
  const search = make("input", { type: "search", placeholder: "Filter cells …", "aria-label": "Filter cells" });
  const states = [...new Set(cells.map((cell) => cell[1]))];
  const counted = states.map((s) => [s, `${s} (${cells.filter((cell) => cell[1] === s).length})`]);
  const state = select("Show cells in this state", [["", `all states (${cells.length})`], ...counted], () => draw());
  const body = make("tbody");
  const more = make("button", { type: "button" });
  const headers = CELL_COLUMNS.map(({ heading, numeric }, i) => {
    const button = make("button", { type: "button" }, heading);
    const header = make("th", { scope: "col", "aria-sort": "none", className: numeric ? "number" : "" }, button);
    button.addEventListener("click", () => {
      order = NEXT_ORDER[header.getAttribute("aria-sort")];
      column = i;
      for (const other of headers) other.setAttribute("aria-sort", "none");
      header.setAttribute("aria-sort", order);
      draw();
    });
    return header;
  });
  const draw = () => {
    const words = search.value.toLowerCase().split(/\s+/);
    let found = cells.filter((cell) => (!state.value || cell[1] === state.value)
      && words.every((word) => `${cell[0]} ${cell[2]}`.toLowerCase().includes(word)));
    if (order !== "none") {
      const { of, numeric } = CELL_COLUMNS[column];
      const sign = order === "descending" ? -1 : 1;
      found = [...found].sort((a, b) => compareValues(String(of(a) ?? ""), String(of(b) ?? ""), numeric, sign));
    }
    const visible = everything ? found : found.slice(0, FIRST_CELLS);
    body.replaceChildren(...visible.map(cellLine));
    more.hidden = visible.length === found.length;
    more.textContent = `Show all ${found.length}`;
  };
  search.addEventListener("input", draw);
  more.addEventListener("click", () => {
    everything = true;
    draw();
  });
  place.append(
    make("div", { className: "controls" }, search, state),
    make("div", { className: "scroll" },
      make("table", { className: "numbers", id: "cells-table" }, make("thead", {}, make("tr", {}, ...headers)), body)),
    more,
  );
  draw();
}

function cellLine([id, state, row, seed, seconds]) {
  return make("tr", {},
    make("td", { className: "state" }, badge(state)),
    make("td", {}, make("a", { href: `#cell/${encodeURIComponent(id)}` }, id)),
    make("td", { className: "label" }, row || "before others"),
    make("td", { className: "number" }, shown(seed)),
    make("td", { className: "number" }, shown(seconds, 3)));
}

function badge(state) {
  return make("span", { className: `badge ${state}` }, state);
}

/** Details of cells, a block at a time, unpacked when first asked for. */
class CellBlocks {
  constructor() {
    this.blocks = [...document.querySelectorAll("script[data-cells]")];
    this.found = new Map();
  }

  async get(place, size) {
    const block = Math.floor(place / size);
    if (!this.found.has(block)) {
      this.found.set(block, unpack(this.blocks[block].textContent).then(JSON.parse));
    }
    return (await this.found.get(block))[place % size];
  }
}

/** A cell's page: what it was, what came out, what it took, how it went, and how to run it alone. */
function cellPage(cell, cells, place) {
  const step = (to, text) => (cells[to] ? make("a", { href: `#cell/${encodeURIComponent(cells[to][0])}` }, text) : "");
  const heading = make("h1", { tabIndex: -1 }, cell.id);
  const page = make("article", {},
    make("nav", { "aria-label": "Cells" },
      make("a", { href: "#cells" }, "← all cells"), step(place - 1, "previous"), step(place + 1, "next")),
    heading,
    make("p", {}, badge(cell.state), ` ${cell.row || "comes before others"}, seed ${cell.seed}`));
  if (cell.failure) {
    page.append(make("section", { className: "failure" },
      make("h2", {}, `Failure: ${cell.failure.kind}`),
      make("p", {}, cell.failure.message),
      cell.failure.details ? make("pre", {}, cell.failure.details) : ""));
  }
  if (cell.caveats) page.append(part("Caveats", make("ul", {}, ...cell.caveats.map((text) => make("li", {}, text)))));
  if (cell.scores) page.append(part("Scores", scoresTable(cell)));
  if (cell.curves) {
    const charts = Object.entries(cell.curves).map(([title, { step: steps, lines }]) => lineChart(title, steps, lines));
    page.append(part("Curves", make("div", { className: "charts" }, ...charts)));
  }
  for (const [title, key] of [["Cost", "costs"], ["Balancer", "balancing"], ["Findings", "findings"]]) {
    if (cell[key]) page.append(part(title, definitions(cell[key])));
  }
  if (cell.spec) page.append(part("What was run", definitions(cell.spec), startLink(cell)));
  if (cell.command) page.append(part("Run this cell alone", commandBlock(cell.command)));
  if (cell.log) page.append(part("End of the log", make("pre", {}, cell.log)));
  if (cell.provenance) page.append(part("Provenance", definitions(cell.provenance)));
  if (!cell.spec) page.append(make("p", {}, cell.note || "This cell has not begun."));
  return { page, heading };
}

function startLink({ startsFrom }) {
  if (!startsFrom) return "";
  const links = startsFrom.map((id) => make("a", { href: `#cell/${encodeURIComponent(id)}` }, id));
  return make("p", {}, "It starts from the weights of ", ...links.flatMap((link, i) => (i ? [", ", link] : [link])), ".");
}

function part(title, ...children) {
  return make("section", {}, make("h2", {}, title), ...children);
}

/** Names and values, in columns where there is room. */
function definitions(values) {
  const pairs = Object.entries(values).map(([name, value]) => make("div", {},
    make("dt", {}, name), make("dd", {}, shown(value, 6))));
  return make("dl", { className: "columns" }, ...pairs);
}

/** All variants of all metrics, the primary one of each task first. */
function scoresTable({ scores, primary }) {
  const tables = Object.entries(scores).map(([task, metrics]) => {
    const names = Object.keys(metrics).sort((a, b) => (b === primary[task]) - (a === primary[task]));
    const rows = names.map((name) => make("tr", { className: name === primary[task] ? "primary" : "" },
      make("th", { scope: "row" }, name), make("td", { className: "number" }, shown(metrics[name], 5))));
    return make("table", { className: "metrics" }, make("caption", {}, task), make("tbody", {}, ...rows));
  });
  return make("div", { className: "charts" }, ...tables);
}

function commandBlock(command) {
  const block = make("pre", { className: "command" }, command);
  return make("div", { className: "copyable" }, copyButton("Copy", () => command), block);
}
