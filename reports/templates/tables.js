/** Order of two cells' values: by size where the column holds numbers; what is missing comes last both ways. */
function compareValues(a, b, numeric, sign) {
  if (a === "" || b === "") return (a === "") - (b === "");
  return sign * (numeric ? Number(a) - Number(b) : a.localeCompare(b, "en", { numeric: true }));
}

const NEXT_ORDER = { none: "ascending", ascending: "descending", descending: "none" };

/** Headings sort: up, down, and back to the order that the table came in. */
function sortable(table) {
  const body = table.tBodies[0];
  const original = [...body.rows];
  const headers = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  headers.forEach((header, place) => {
    header.querySelector("button").addEventListener("click", () => {
      const order = NEXT_ORDER[header.getAttribute("aria-sort")];
      for (const other of headers) other.setAttribute("aria-sort", "none");
      header.setAttribute("aria-sort", order);
      table.classList.toggle("sorted", order !== "none");
      const sign = order === "descending" ? -1 : 1;
      const value = (row) => row.cells[place].dataset.value;
      const numeric = header.classList.contains("number");
      const rows = order === "none" ? original : [...original].sort(
        (a, b) => compareValues(value(a), value(b), numeric, sign));
      body.append(...rows);
    });
  });
}

/** Free text, a choice for each label, columns to hide, published rows to hide, and copies of what is shown. */
function controls(table, bar) {
  const rows = [...table.tBodies[0].rows];
  const headers = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  const title = (header) => header.querySelector("button").textContent;
  const text = (row, place) => row.cells[place].querySelector(".value, .done").textContent;
  const labelled = headers.map((header, place) => place).filter((place) => headers[place].dataset.kind === "label"
    || headers[place].dataset.kind === "state");
  const words = new Map(rows.map((row) => [row, labelled.map((p) => text(row, p)).join(" ").toLowerCase()]));
  const chosen = new Map();
  const count = make("span", { className: "count", role: "status" });
  const search = make("input", {
    type: "search", placeholder: "Filter rows …", "aria-label": "Filter rows by their labels",
  });
  const published = make("input", { type: "checkbox", checked: true });

  const passes = (row, except) => search.value.toLowerCase().split(/\s+/).every((w) => words.get(row).includes(w))
    && (published.checked || !row.classList.contains("published"))
    && [...chosen].every(([place, wanted]) => place === except || !wanted || text(row, place) === wanted);

  const update = () => {
    for (const row of rows) row.hidden = !passes(row);
    const visible = rows.filter((row) => !row.hidden).length;
    count.textContent = visible === rows.length ? `${rows.length} rows` : `${visible} of ${rows.length} rows`;
    for (const box of boxes) fill(box);
  };

  // Numbers beside a choice are those of rows that pass all the other filters.
  const fill = ({ box, place, values }) => {
    const passing = rows.filter((row) => passes(row, place));
    box.options[0].textContent = `${title(headers[place])}: all (${passing.length})`;
    values.forEach((value, i) => {
      const found = passing.filter((row) => text(row, place) === value).length;
      box.options[i + 1].textContent = `${value} (${found})`;
    });
  };

  const boxes = [];
  for (const place of labelled) {
    const values = [...new Set(rows.map((row) => text(row, place)))].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
    if (values.length < 2 || values.length > 60) continue;
    const options = [["", ""], ...values.map((value) => [value, value])];
    const box = select(`Show rows with this ${title(headers[place])}`, options, (value) => {
      chosen.set(place, value);
      update();
    });
    boxes.push({ box, place, values });
  }
  search.addEventListener("input", update);
  published.addEventListener("change", update);
  const hasPublished = rows.some((row) => row.classList.contains("published"));
  bar.append(search, ...boxes.map(({ box }) => box), columnMenu(table, headers, title));
  if (hasPublished) bar.append(make("label", {}, published, " published numbers"));
  bar.append(
    copyButton("Copy CSV", () => asCsv(shownCells(table))),
    copyButton("Copy LaTeX", () => asLatex(shownCells(table))),
    count,
  );
  update();
}

/** A box for each column; headings that stand over several columns shrink with them. */
function columnMenu(table, headers, title) {
  const groups = table.tHead.rows.length > 1 ? [...table.tHead.rows[0].cells] : [];
  const groupOf = groups.flatMap((group) => Array(group.colSpan).fill(group));
  const rows = [...table.tBodies[0].rows];
  const toggle = (place, visible) => {
    for (const cell of [headers[place], ...rows.map((row) => row.cells[place])]) cell.hidden = !visible;
    for (const group of groups) {
      const left = headers.filter((header, i) => groupOf[i] === group && !header.hidden).length;
      group.hidden = left === 0;
      if (left) group.colSpan = left;
    }
  };
  const boxes = headers.map((header, place) => {
    const box = make("input", { type: "checkbox", checked: true });
    box.addEventListener("change", () => toggle(place, box.checked));
    const group = groupOf[place]?.textContent;
    return make("label", {}, box, ` ${group ? `${group} ` : ""}${title(header)}`);
  });
  return menu("Columns", ...boxes);
}

/** Headings and cells that are neither filtered out nor hidden: text, and whether it is best or second. */
function shownCells(table) {
  const headRows = [...table.tHead.rows].map((row) => [...row.cells].filter((cell) => !cell.hidden));
  const groups = headRows.length > 1 ? headRows[0].flatMap((c) => Array(c.colSpan).fill(c.textContent.trim())) : [];
  const heads = headRows[headRows.length - 1].map((cell, i) =>
    [groups[i], cell.querySelector("button").textContent.trim()].filter(Boolean).join(" "));
  const numeric = headRows[headRows.length - 1].map((cell) => cell.classList.contains("number"));
  const rows = [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) =>
    [...row.cells].filter((cell) => !cell.hidden).map((cell) => ({
      text: cell.textContent.trim().replace(/\s+/g, " "),
      rank: ["best", "second"].find((rank) => cell.classList.contains(rank)),
    })));
  return { heads, numeric, rows };
}

function asCsv({ heads, rows }) {
  const quoted = (text) => (/[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  return [heads, ...rows.map((row) => row.map((cell) => cell.text))].map((line) => line.map(quoted).join(",")).join("\n");
}

const LATEX = {
  "\\": "\\textbackslash{}", "&": "\\&", "%": "\\%", $: "\\$", "#": "\\#", _: "\\_", "{": "\\{", "}": "\\}",
  "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "\\textless{}", ">": "\\textgreater{}",
  "↑": "$\\uparrow$", "↓": "$\\downarrow$", "Δ": "$\\Delta$", "±": "$\\pm$", "−": "$-$", "†": "\\textdagger{}",
  "—": "---", "·": "$\\cdot$", "…": "\\ldots{}",
};

/** A tabular as booktabs sets it. */
function asLatex({ heads, numeric, rows }) {
  const escaped = (text) => [...text].map((character) => LATEX[character] ?? character).join("");
  const marked = ({ text, rank }) => {
    const inner = escaped(text);
    return rank === "best" ? `\\textbf{${inner}}` : rank === "second" ? `\\underline{${inner}}` : inner;
  };
  return [
    `\\begin{tabular}{${numeric.map((number) => (number ? "r" : "l")).join("")}}`,
    "\\toprule",
    `${heads.map(escaped).join(" & ")} \\\\`,
    "\\midrule",
    ...rows.map((row) => `${row.map(marked).join(" & ")} \\\\`),
    "\\bottomrule",
    "\\end{tabular}",
  ].join("\n");
}
