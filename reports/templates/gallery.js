/**
 * Truth and prediction on each other, with a slider between them, and under it all pictures of the sample.
 * A click on a picture of the overview compares it.
 */
function gallery(place, { samples, rows, first }) {
  const [task0] = Object.keys(samples[0].rows[first].predictions);
  const now = { sample: 0, task: task0, row: first, under: "truth", over: "prediction" };
  const truth = make("img", { alt: "" });
  const cover = make("img", { alt: "", className: "cover" });
  const slider = make("input", { type: "range", min: 0, max: 100, value: 50, step: 1, "aria-label": "Share of the ground truth" });
  const said = make("p", { className: "caption", role: "status" });
  const stage = make("div", { className: "stage" }, truth, cover, make("div", { className: "handle" }));
  const overview = make("div", { className: "scroll" });

  const task = select("Task", [], (value) => draw({ task: value }));
  const under = select("Picture on the left", [], (value) => draw({ under: value }));
  const over = select("Picture on the right", [], (value) => draw({ over: value }));
  const sample = select("Image", samples.map(({ name }, i) => [i, name]), (value) => draw({ sample: Number(value) }));
  const row = select("Row", rows.map((name, i) => [i, name]), (value) => draw({ row: Number(value) }));

  const slide = () => stage.style.setProperty("--share", `${slider.value}%`);
  slider.addEventListener("input", slide);

  /** The pictures that can be laid on each other, by name. */
  const layers = () => {
    const { image, truth: labels, rows: found } = samples[now.sample];
    const { predictions } = found[now.row];
    const all = { truth: labels[now.task], prediction: predictions[now.task], image };
    return Object.fromEntries(Object.entries(all).filter(([, source]) => source));
  };

  const draw = (change) => {
    Object.assign(now, change);
    const tasks = tasksOf(samples[now.sample]);
    if (!tasks.includes(now.task)) [now.task] = tasks;
    refill(task, tasks, now.task);
    const available = layers();
    const names = Object.keys(available);
    if (!available[now.under]) [now.under] = names;
    if (!available[now.over]) now.over = names[names.length - 1];
    refill(under, names, now.under);
    refill(over, names, now.over);
    [sample.value, row.value] = [now.sample, now.row];
    [truth.src, cover.src] = [available[now.under], available[now.over]];
    truth.alt = `${now.under} of ${now.task}, image ${samples[now.sample].name}`;
    cover.alt = `${now.over} of ${now.task} by ${rows[now.row]}, image ${samples[now.sample].name}`;
    said.textContent = `Left of the line: ${now.under}. Right of it: ${now.over} of ${rows[now.row]}.`;
    if (!change || "sample" in change) overview.replaceChildren(overviewTable(samples[now.sample], rows, tasks, draw));
    for (const picture of overview.querySelectorAll("button")) {
      const shownNow = picture.dataset.task === now.task && picture.dataset.row === String(now.row);
      picture.setAttribute("aria-pressed", shownNow);
    }
  };

  place.append(
    make("div", { className: "controls" }, sample, task, row, under, over),
    make("div", { className: "comparison" }, stage, slider, said),
    overview,
  );
  draw();
  slide();
}

function tasksOf({ truth, rows }) {
  return [...new Set([...Object.keys(truth), ...rows.flatMap(({ predictions }) => Object.keys(predictions))])];
}

function refill(box, values, chosen) {
  box.replaceChildren(...values.map((value) => make("option", { value }, value)));
  box.value = chosen;
}

/** The input and labels in the first line, then a line a row. */
function overviewTable({ name, image, truth, rows: found }, rows, tasks, choose) {
  const picture = (source, alt) => make("img", { src: source, alt, loading: "lazy" });
  const cell = (source, alt, change) => {
    if (!source) return make("td", { className: "note" }, "none");
    const button = make("button", { type: "button", title: "Compare" }, picture(source, alt));
    Object.assign(button.dataset, change);
    button.addEventListener("click", () => choose(change));
    return make("td", {}, button);
  };
  const first = make("tr", {},
    make("th", { scope: "row" }, image ? picture(image, `image ${name}`) : "", make("span", {}, "ground truth")),
    ...tasks.map((task) => cell(truth[task], `${task}, ground truth`, { task })));
  const others = found.map(({ predictions }, row) => make("tr", {},
    make("th", { scope: "row" }, make("span", {}, rows[row])),
    ...tasks.map((task) => cell(predictions[task], `${task}, ${rows[row]}`, { task, row }))));
  return make("table", { className: "gallery" },
    make("thead", {}, make("tr", {}, make("td"), ...tasks.map((task) => make("th", { scope: "col" }, task)))),
    make("tbody", {}, first, ...others));
}
