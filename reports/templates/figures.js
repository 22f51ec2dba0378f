const MOST_BARS = 80;
const DASHES = ["solid", "dash", "dot", "dashdot"];
const SYMBOLS = ["circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x"];

/** plotly, from the page itself, when the first figure comes near. */
let plotlyPromise = null;
function loadPlotly(holder) {
  plotlyPromise ??= unpack(holder.textContent).then((source) => {
    document.head.append(make("script", { textContent: source }));
    return window.Plotly;
  });
  return plotlyPromise;
}

/** Figures that can be asked take the place of their pictures; the others stay as they are. */
function interactiveFigures(data) {
  const holder = document.getElementById("plotly");
  if (!holder || !data) return;
  const drawn = [];
  const draw = async (figure) => {
    const plotly = await loadPlotly(holder);
    const plot = make("div", { className: "plot" });
    figure.querySelector("img")?.setAttribute("hidden", "");
    figure.prepend(plot);
    const redraw = FIGURES[figure.dataset.interactive](plotly, plot, data, figure);
    redraw();
    drawn.push(redraw);
  };
  const near = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (isIntersecting) {
        near.unobserve(target);
        draw(target);
      }
    }
  }, { rootMargin: "400px" });
  for (const figure of document.querySelectorAll("figure[data-interactive]")) near.observe(figure);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.forEach((redraw) => redraw()));
}

/** Colours and fonts of the page, light or dark. */
function theme() {
  const style = getComputedStyle(document.documentElement);
  const [ink, line] = ["--ink", "--line"].map((name) => style.getPropertyValue(name).trim());
  const axis = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true };
  const layout = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", margin: { l: 50, r: 16, t: 30, b: 44 },
    font: { family: "system-ui, sans-serif", size: 12, color: ink }, hoverlabel: { align: "left" },
  };
  return { axis, layout, ink };
}

const CONFIG = { responsive: true, displaylogo: false, modeBarButtonsToRemove: ["lasso2d", "select2d"] };

/** Text of a label for plotly, which would take tags for its own. */
function plain(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

function cut(text, length = 34) {
  return plain(text.length > length ? `${text.slice(0, length / 2)}…${text.slice(-length / 2)}` : text);
}

function mean(pairs) {
  return pairs.length ? pairs.reduce((sum, [, value]) => sum + value, 0) / pairs.length : null;
}

function seedLines(pairs) {
  return pairs.map(([seed, value]) => `seed ${seed}: ${shown(value)}`).join("<br>");
}

/** In the order of the table: a balancer has the same colour in all figures. */
function balancersOf(rows) {
  return [...new Set(rows.map((row) => row.balancer))];
}

/** Bars with intervals, and dots for single seeds; a legend entry for each balancer. */
function drawGains(plotly, plot, { rows, measures, intervals, palette }) {
  const { values } = measures.find(({ name }) => name === "delta_m");
  let places = rows.map((row, i) => i).filter((i) => rows[i].role === "candidate" && values[i].length);
  places = places.sort((a, b) => mean(values[b]) - mean(values[a])).slice(0, MOST_BARS);
  const balancers = balancersOf(rows).filter((balancer) => places.some((i) => rows[i].balancer === balancer));
  return () => {
    const { axis, layout, ink } = theme();
    const traces = balancers.map((balancer) => {
      const b = balancersOf(rows).indexOf(balancer);
      const of = places.filter((i) => rows[i].balancer === balancer);
      const means = of.map((i) => mean(values[i]));
      const above = of.map((i, at) => (intervals[i] ? intervals[i][1] - means[at] : 0));
      const below = of.map((i, at) => (intervals[i] ? means[at] - intervals[i][0] : 0));
      const hover = of.map((i, at) => `<b>${plain(rows[i].name)}</b><br>Δm ${shown(means[at])} %`
        + (intervals[i] ? ` (${shown(intervals[i][0])} to ${shown(intervals[i][1])})` : "")
        + `<br>${seedLines(values[i])}<extra></extra>`);
      return {
        type: "bar", orientation: "h", name: plain(balancer) || "all", x: means, y: of, hovertemplate: hover,
        marker: { color: palette[b % palette.length] }, showlegend: balancers.length > 1,
        error_x: { type: "data", symmetric: false, array: above, arrayminus: below, color: ink, thickness: 1.2, width: 3 },
      };
    });
    const dots = places.flatMap((i) => values[i].map(([, value]) => [value, i]));
    traces.push({
      type: "scatter", mode: "markers", x: dots.map(([value]) => value), y: dots.map(([, i]) => i), hoverinfo: "skip",
      name: "seeds", marker: { color: "#fff", size: 5, line: { color: "#222", width: 1 } },
    });
    plotly.react(plot, traces, {
      ...layout, height: 90 + 26 * places.length + 22 * Math.ceil(balancers.length / 3), barmode: "overlay",
      legend: { orientation: "h", y: 1, yanchor: "bottom", x: 0 },
      xaxis: { ...axis, title: { text: "Δm (%)" }, zerolinecolor: ink },
      yaxis: {
        ...axis, type: "category", categoryorder: "array", categoryarray: [...places].reverse(), tickmode: "array",
        tickvals: places, ticktext: places.map((i) => cut(rows[i].name)),
      },
    }, CONFIG);
  };
}

/** Any measure against any cost. */
function drawCosts(plotly, plot, { rows, measures, costs, palette }, figure) {
  const choice = { x: 0, y: 0 };
  const redraw = () => {
    const { axis, layout } = theme();
    const [x, y] = [costs[choice.x], measures[choice.y]];
    const balancers = balancersOf(rows);
    const traces = balancers.map((balancer, b) => {
      const of = rows.map((row, i) => i).filter((i) => rows[i].balancer === balancer
        && x.values[i] !== null && y.values[i].length && rows[i].role !== "reference");
      return {
        type: "scatter", mode: "markers", name: plain(balancer) || "none", x: of.map((i) => x.values[i]),
        y: of.map((i) => mean(y.values[i])), showlegend: balancers.length > 1,
        marker: { color: palette[b % palette.length], size: 11, symbol: SYMBOLS[b % SYMBOLS.length] },
        hovertemplate: of.map((i) => `<b>${plain(rows[i].name)}</b><br>${y.heading} ${shown(mean(y.values[i]))}`
          + `<br>${x.heading} ${shown(x.values[i])}<br>${seedLines(y.values[i])}<extra></extra>`),
      };
    });
    plotly.react(plot, traces, {
      ...layout, height: 430, legend: { orientation: "h", y: 1, yanchor: "bottom", x: 0 },
      xaxis: { ...axis, title: { text: x.heading } },
      yaxis: { ...axis, title: { text: `${y.heading} ${y.higher ? "↑" : "↓"}` } },
    }, CONFIG);
  };
  const options = (list) => list.map(({ heading }, i) => [i, heading]);
  const pick = (name) => (value) => {
    choice[name] = Number(value);
    redraw();
  };
  figure.prepend(make("div", { className: "controls" },
    make("label", {}, "up: ", select("Vertical axis", options(measures), pick("y"))),
    make("label", {}, "right: ", select("Horizontal axis", options(costs), pick("x")))));
  return redraw;
}

/** A panel a task, a line a row; an entry of the legend shows or hides its row in all panels. */
function drawCurves(kind) {
  return (plotly, plot, { rows, palette, [kind]: panels }) => () => {
    const { axis, layout } = theme();
    const tasks = Object.keys(panels);
    const columns = Math.min(tasks.length, plot.clientWidth > 900 ? 4 : plot.clientWidth > 560 ? 2 : 1);
    const lines = Math.ceil(tasks.length / columns);
    const found = { ...layout, grid: { rows: lines, columns, pattern: "independent", xgap: 0.18, ygap: 0.3 }, annotations: [] };
    const seen = new Set();
    const traces = tasks.flatMap((task, t) => {
      const suffix = t ? String(t + 1) : "";
      found[`xaxis${suffix}`] = { ...axis, nticks: 5 };
      const values = panels[task].flatMap((curve) => curve.mean);
      const log = kind !== "validation" && Math.min(...values) > 0 && Math.max(...values) / Math.min(...values) > 4;
      found[`yaxis${suffix}`] = { ...axis, type: log ? "log" : "linear", nticks: 6 };
      found.annotations.push({
        text: plain(task), showarrow: false, x: 0.5, xref: `x${suffix} domain`, y: 1.02, yref: `y${suffix} domain`, yanchor: "bottom",
      });
      return panels[task].map(({ place, step, mean: y, low, high }) => {
        const first = !seen.has(place);
        seen.add(place);
        const name = plain(rows[place].name);
        return {
          type: "scatter", mode: step.length > 1 ? "lines" : "markers", name: cut(rows[place].name, 44), x: step, y, legendgroup: String(place), showlegend: first,
          xaxis: `x${suffix}`, yaxis: `y${suffix}`, customdata: low.map((value, i) => [value, high[i]]),
          line: { color: palette[place % palette.length], dash: DASHES[Math.floor(place / palette.length) % 4], width: 1.8 },
          hovertemplate: `<b>${name}</b><br>step %{x}: %{y:.4g}<br>seeds %{customdata[0]:.4g} to %{customdata[1]:.4g}<extra></extra>`,
        };
      });
    });
    found.height = 60 + lines * 250 + 20 * seen.size;
    found.legend = { orientation: "h", y: -0.12, yanchor: "top", x: 0 };
    plotly.react(plot, traces, found, CONFIG);
  };
}

const FIGURES = {
  delta_m: drawGains,
  cost: drawCosts,
  losses: drawCurves("losses"),
  weights: drawCurves("weights"),
  validation: drawCurves("validation"),
};
