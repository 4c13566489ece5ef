// The curves, drawn with Plotly once it is there; until then the page does without.
import { DASHES, look, make, mark } from "./format.js";

const CONFIG = { displayModeBar: false, responsive: true, doubleClick: "reset" };
const AXES = ["seconds since the run began", "samples", "dollars"];
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Plotly takes some tags in texts for markup, so names are shown without what could begin one.
const plain = (text) => text.replaceAll("<", "‹").replaceAll("&", "＆");

const layout = (title, more = {}) => {
  const axis = { gridcolor: color("--grid"), zeroline: false, linecolor: color("--line"), tickfont: { color: color("--soft") }, automargin: true };
  return {
    margin: { l: 48, r: 12, t: 8, b: 38 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false,
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: color("--ink") },
    hoverlabel: { bgcolor: color("--card"), bordercolor: color("--line"), font: { color: color("--ink") } }, hovermode: "closest",
    xaxis: { ...axis, title: { text: title, font: { size: 11, color: color("--soft") }, standoff: 8 } },
    yaxis: { ...axis, rangemode: more.loss ? "normal" : "tozero", nticks: 6 },
    ...more.layout,
  };
};

const draw = (id, traces, title, more = {}) => {
  const element = document.getElementById(id);
  if (!window.Plotly || !traces.length) {
    if (element.data && !traces.length) Plotly.purge(element);
    return element;
  }
  Plotly.react(element, traces, layout(title, more), CONFIG);
  return element;
};

const legend = (id, entries) => {
  const element = document.getElementById(`${id}-legend`);
  const text = JSON.stringify(entries);
  if (element.dataset.shown === text) return;
  element.dataset.shown = text;
  element.replaceChildren(...entries.map(([title, style]) => {
    const item = make("span");
    item.append(mark(style), title);
    return item;
  }));
};

const column = (rows, index) => rows.map((row) => row[index]);
const line = (name, rows, x, y, style, more = {}) => ({
  type: "scatter", mode: rows.length < 2 ? "markers" : "lines", name: plain(name), x: column(rows, x), y: column(rows, y),
  line: { width: 2, ...style }, marker: { color: style.color, size: 6 }, ...more,
});

export const numberOf = (key, stages) => {
  const trial = key.match(/\/(\d+)$/);
  return trial ? Number(trial[1]) : Math.max(0, stages.findIndex((stage) => stage.name === key)) + 6;
};

export const drawLoss = (state, keys, axis, open, click) => {
  const traces = keys.map((key) => {
    const trial = state.trials.get(key);
    const style = look(numberOf(key, state.stages));
    const faint = open && open !== key;
    const named = trial ? `${trial.stage}, trial ${trial.trial}` : key;
    return line(named, state.series.get(`loss/${key}`), axis, 3, { ...style, width: open === key ? 3.5 : 2 }, {
      opacity: faint ? 0.3 : trial && trial.state !== "running" ? 0.65 : 1, customdata: [key],
      hovertemplate: `${plain(named)}<br>log loss %{y:.4f}<br>%{x:,.6~g} ${["s", "samples", "dollars"][axis]}<extra></extra>`,
    });
  });
  const element = draw("loss", traces, AXES[axis], { loss: true, layout: { uirevision: axis } });
  if (element.on && !element.dataset.clicks) {
    element.dataset.clicks = "yes";
    element.on("plotly_click", (event) => click(event.points[0].data.customdata[0]));
  }
};

export const drawSmall = (state) => {
  const of = (kind) => [...state.series.keys()].filter((key) => key.startsWith(`${kind}/`)).sort();
  const name = (key) => key.slice(key.indexOf("/") + 1);
  const style = (index) => ({ color: look(index).color, dash: DASHES[index % 4] });
  const rates = of("rate");
  draw("rate", rates.map((key, index) => line(name(key), state.series.get(key), 0, 1, style(index))), "seconds");
  legend("rate", rates.map((key, index) => [name(key), style(index)]));
  const pools = of("workers").filter((key) => state.series.get(key).some((row) => row[1] || row[2]));
  draw("workers", pools.flatMap((key, index) => [
    line(`${name(key)}, wished for`, state.series.get(key), 0, 1, { color: look(index).color, dash: "dot", shape: "hv", width: 1.5 }),
    line(`${name(key)}, at work`, state.series.get(key), 0, 2, { color: look(index).color, dash: "solid", shape: "hv", width: 2.5 }),
  ]), "seconds");
  legend("workers", [...pools.map((key, index) => [name(key), { color: look(index).color, dash: "solid" }]), ...(pools.length ? [["wished for", { color: color("--soft"), dash: "dot" }]] : [])]);
  const use = state.series.get("use") ?? [];
  draw("money", use.length ? [line("dollars", use, 0, 1, style(0))] : [], "seconds");
  const parts = use.length ? [["shards", 4], ["largest worker", 3], ["driver", 5]] : [];
  draw("memory", parts.map(([title, at], index) => line(`${title}, MB`, use, 0, at, style(index))), "seconds");
  legend("memory", parts.map(([title], index) => [title, style(index)]));
};
