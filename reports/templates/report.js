"use strict";
for (const table of document.querySelectorAll("table.numbers")) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const headers = [...table.tHead.rows[1].cells];
  const compare = (a, b) => {
    const [x, y] = [parseFloat(a), parseFloat(b)];
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y;
  };
  headers.forEach((header, place) => {
    header.querySelector("button").addEventListener("click", () => {
      const next = { none: "ascending", ascending: "descending", descending: "none" }[header.ariaSort ?? "none"];
      headers.forEach((other) => other.setAttribute("aria-sort", "none"));
      header.setAttribute("aria-sort", next);
      const value = (row) => row.cells[place].dataset.value;
      const sign = next === "descending" ? -1 : 1;
      const rows = next === "none" ? original : [...original].sort((a, b) => {
        // Missing numbers stay at the end in both directions.
        if (value(a) === "" || value(b) === "") return (value(a) === "") - (value(b) === "");
        return sign * compare(value(a), value(b));
      });
      body.append(...rows);
    });
  });
}
document.querySelector("input[type=search]").addEventListener("input", (event) => {
  const words = event.target.value.toLowerCase().split(/\s+/);
  for (const row of document.querySelectorAll("table.numbers tbody tr")) {
    const labels = [...row.querySelectorAll(".label, .state")].map((cell) => cell.textContent).join(" ").toLowerCase();
    row.hidden = !words.every((word) => labels.includes(word));
  }
});
const dialog = document.querySelector("dialog");
for (const picture of document.querySelectorAll("img.zoom")) {
  picture.addEventListener("click", () => {
    dialog.querySelector("img").src = picture.src;
    dialog.querySelector("img").alt = picture.alt;
    dialog.querySelector("p").textContent = picture.alt;
    dialog.showModal();
  });
}
dialog.addEventListener("click", () => dialog.close());
