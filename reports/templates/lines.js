const CHART = { width: 320, height: 170, left: 46, right: 8, top: 8, bottom: 24 };

function svg(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** Round numbers from low to high, about `count` of them. */
function ticks(low, high, count) {
  const raw = (high - low) / count || Math.abs(high) || 1;
  const size = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * size).find((candidate) => candidate >= raw);
  const found = [];
  for (let i = Math.ceil(low / step); i * step <= high + step * 1e-9; i += 1) found.push(i * step || 0); // not -0
  return found;
}

/**
 * A small line chart with its legend.
 * @param {string} title
 * @param {number[]} steps along x
 * @param {Object<string, (number|null)[]>} lines by name; gaps where a value is missing
 * @param {Object} [options] `points`: names of lines that are drawn as dots
 */
function lineChart(title, steps, lines, { points = [] } = {}) {
  const values = Object.values(lines).flat().filter((value) => value !== null);
  const positive = values.every((value) => value > 0);
  let [low, high] = [Math.min(...values), Math.max(...values)];
  const log = positive && high / low > 20;
  if (low === high) [low, high] = [low - Math.abs(low) * 0.1 - 1e-9, high + Math.abs(high) * 0.1 + 1e-9];
  const [first, last] = [steps[0], steps[steps.length - 1] === steps[0] ? steps[0] + 1 : steps[steps.length - 1]];
  const { width, height, left, right, top, bottom } = CHART;
  const scale = log ? Math.log10 : (value) => value;
  const x = (step) => left + ((step - first) / (last - first)) * (width - left - right);
  const y = (value) => height - bottom
    - ((scale(value) - scale(low)) / (scale(high) - scale(low))) * (height - top - bottom);
  const marks = log
    ? ticks(Math.ceil(Math.log10(low)), Math.floor(Math.log10(high)), 3).filter(Number.isInteger).map((e) => 10 ** e)
    : ticks(low, high, 3);
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": describe(title, lines) });
  for (const mark of marks.length ? marks : [low, high]) {
    drawing.append(
      svg("line", { x1: left, x2: width - right, y1: y(mark), y2: y(mark), class: "grid" }),
      svg("text", { x: left - 5, y: y(mark) + 3.5, "text-anchor": "end" }, shown(mark, 3)),
    );
  }
  for (const mark of ticks(first, last, 4)) {
    drawing.append(svg("text", { x: x(mark), y: height - 8, "text-anchor": "middle" }, shown(mark)));
  }
  Object.entries(lines).forEach(([name, found], i) => {
    const colour = `var(--line-${i % 7})`;
    if (points.includes(name)) {
      found.forEach((value, at) => value === null || drawing.append(
        svg("circle", { cx: x(steps[at]), cy: y(value), r: 2.5, style: `fill: ${colour}` },
          svg("title", {}, `${shown(steps[at])}: ${shown(value)}`))));
    } else {
      drawing.append(svg("path", { d: path(found, steps, x, y), style: `stroke: ${colour}`, class: "curve" }));
    }
  });
  const legend = make("span", { className: "legend" }, ...Object.keys(lines).map((name, i) =>
    make("span", { style: `--key: var(--line-${i % 7})` }, name)));
  const several = Object.keys(lines).length > 1;
  return make("figure", { className: "small" }, make("figcaption", {}, title), drawing, several ? legend : "");
}

/** Lines between neighbours; a missing value lifts the pen. */
function path(values, steps, x, y) {
  let down = false;
  return values.map((value, i) => {
    if (value === null) {
      down = false;
      return "";
    }
    const command = `${down ? "L" : "M"}${x(steps[i]).toFixed(1)} ${y(value).toFixed(1)}`;
    down = true;
    return command;
  }).join("");
}

/** What a reader who doesn't see the chart is told. */
function describe(title, lines) {
  const ends = Object.entries(lines).map(([name, values]) => {
    const known = values.filter((value) => value !== null);
    return `${name} from ${shown(known[0])} to ${shown(known[known.length - 1])}`;
  });
  return `${title}: ${ends.join(", ")}`;
}
