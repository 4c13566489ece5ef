// Figures as people read them, and the looks of lines: colours that the colour-blind can tell apart, and dashes besides.
export const DASHES = ["solid", "dash", "dot", "dashdot"];
const LIGHT = ["#0072b2", "#c24f00", "#00805d", "#b0568a", "#8a6500", "#2f8fc9", "#5b4bb3", "#4d5560"];
const DARK = ["#56b4e9", "#f0863c", "#2cc295", "#e08fbd", "#e6b422", "#9ad0f5", "#a99cf0", "#b6c0cc"];
const STROKES = { solid: "", dash: "7 4", dot: "2 3", dashdot: "8 3 2 3" };

export const isDark = () => {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};
export const look = (number) => ({
  color: (isDark() ? DARK : LIGHT)[number % 8],
  dash: DASHES[Math.floor(number / 8) % DASHES.length],
});

export const loss = (value) => (value === null || value === undefined ? "–" : value.toFixed(4));
export const count = (value) => Math.round(value).toLocaleString("en-US");
export const workers = (number) => `${count(number)} worker${number === 1 ? "" : "s"}`;
export const dollars = (value) => (value === null || value === undefined ? "–" : `$${value === 0 || value >= 10 ? value.toFixed(2) : value >= 0.01 ? value.toFixed(4) : value.toPrecision(2)}`);
export const memory = (mb) => (mb >= 1024 ? `${(mb / 1024).toFixed(1)} GB` : `${Math.round(mb)} MB`);
export const time = (seconds) => {
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return (parts[0] ? `${parts[0]}:` : "") + `${String(parts[1]).padStart(parts[0] ? 2 : 1, "0")}:${String(parts[2]).padStart(2, "0")}`;
};
export const setting = (value) => {
  if (typeof value !== "number" || Number.isInteger(value)) return String(value);
  const short = Number(value.toPrecision(4));
  return Math.abs(short) < 0.001 ? short.toExponential() : String(short);
};

export const make = (tag, text = "", attributes = {}) => {
  const element = document.createElement(tag);
  element.textContent = text;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
};
export const put = (id, text) => {
  const element = document.getElementById(id);
  if (element.textContent !== text) element.textContent = text;
};
export const mark = ({ color, dash }) => {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  const path = document.createElementNS(space, "line");
  svg.setAttribute("class", "dash");
  svg.setAttribute("viewBox", "0 0 30 8");
  svg.setAttribute("aria-hidden", "true");
  for (const [name, value] of Object.entries({ x1: 0, x2: 30, y1: 4, y2: 4, stroke: color, "stroke-width": 3, "stroke-dasharray": STROKES[dash] })) path.setAttribute(name, value);
  svg.append(path);
  return svg;
};
