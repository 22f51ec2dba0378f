const report = document.getElementById("report");
const cellView = document.getElementById("cell");
const cells = readJson("cells-data") ?? { index: [], block: 1 };
const blocks = new CellBlocks();
const title = document.title;
let leftAt = 0;

/** `#cell/ID` shows a cell's page; any other address a place of the report. */
async function route() {
  const [, id] = /^#cell\/(.+)$/.exec(location.hash) ?? [];
  if (!id) return showReport();
  const place = cells.index.findIndex((cell) => cell[0] === decodeURIComponent(id));
  if (place < 0) return showReport();
  if (!report.hidden) leftAt = scrollY;
  const { page, heading } = cellPage(await blocks.get(place, cells.block), cells.index, place);
  cellView.replaceChildren(page);
  [report.hidden, cellView.hidden] = [true, false];
  document.title = `${cells.index[place][0]} · ${title}`;
  scrollTo({ top: 0, behavior: "instant" });
  heading.focus({ preventScroll: true });
  return undefined;
}

function showReport() {
  if (!report.hidden) return;
  [report.hidden, cellView.hidden] = [false, true];
  document.title = title;
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target) target.scrollIntoView({ behavior: "instant" });
  else scrollTo({ top: leftAt, behavior: "instant" });
}

function studyHistories() {
  for (const { place, history } of readJson("studies-data") ?? []) {
    for (const { objective, highest, trials, values } of history) {
      let best = null;
      const sofar = values.map((value) => {
        best = best === null || (highest ? value > best : value < best) ? value : best;
        return best;
      });
      if (!trials.length) continue;
      const chart = lineChart(`${objective} by trial`, trials, { "a trial": values, "best so far": sofar }, { points: ["a trial"] });
      document.getElementById(place).append(chart);
    }
  }
}

function zoom() {
  const dialog = document.querySelector("dialog");
  for (const picture of document.querySelectorAll("button.zoom")) {
    picture.addEventListener("click", () => {
      const image = picture.querySelector("img");
      dialog.querySelector("img").src = image.src;
      dialog.querySelector("img").alt = image.alt;
      dialog.querySelector("p").textContent = image.alt;
      dialog.showModal();
    });
  }
  dialog.addEventListener("click", () => dialog.close());
}

/** What stands far down is made when the reader comes near. */
function whenNear(id, work) {
  const place = document.getElementById(id);
  if (!place) return;
  const near = new IntersectionObserver((entries) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    near.disconnect();
    work(place);
  }, { rootMargin: "600px" });
  near.observe(place);
}

for (const table of document.querySelectorAll("table.numbers")) sortable(table);
const bar = document.getElementById("results-controls");
controls(document.getElementById("results-table"), bar);
for (const block of document.querySelectorAll("pre.command")) {
  block.before(copyButton("Copy", () => block.textContent));
}
zoom();
whenNear("gallery-place", (place) => gallery(place, readJson("gallery-data")));
if (cells.index.length) cellList(document.getElementById("cells-place"), cells.index);
studyHistories();
interactiveFigures(readJson("figures-data"));
addEventListener("hashchange", route);
route();
