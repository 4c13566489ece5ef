// The table of trials: one row each, sorted by any column; rows are kept, so that the focus stays where it is.
import { count, dollars, look, loss, make, mark, setting } from "./format.js";

const STATIC = [
  ["trial", "Trial", (trial) => trial.trial], ["state", "State", (trial) => stateOf(trial)],
  ["loss", "Loss", (trial) => trial.loss], ["best", "Best", (trial) => trial.best],
  ["samples", "Samples", (trial) => trial.samples], ["dollars", "Cost", (trial) => trial.dollars], ["workers", "Workers", (trial) => trial.workers],
];
const TEXT = { loss, best: loss, samples: count, dollars, workers: String };

// The truth about a line that is to end: it has ended when none of its workers is there any more.
export const stateOf = (trial) => {
  const ending = trial.stopping || (trial.state === "killed" && trial.workers > 0);
  return ending ? `stopping, ${trial.workers} still working` : trial.state;
};

const compare = (a, b) => {
  const blank = (value) => value === null || value === undefined || value === "";
  if (blank(a) || blank(b)) return blank(a) - blank(b);
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
};

export class Table {
  constructor(element, open) {
    this.head = element.tHead;
    this.body = element.tBodies[0];
    this.open = open;
    this.by = "loss";
    this.down = false;
    this.names = "";
    this.rows = new Map();
  }

  columns() {
    return [...STATIC, ...this.settings.map((name) => [`set:${name}`, name, (trial) => trial.settings[name]])];
  }

  draw(state, opened) {
    this.state = state;
    this.opened = opened;
    const trials = [...state.trials.values()];
    this.settings = [...new Set(trials.flatMap((trial) => Object.keys(trial.settings)))];
    this.worded = new Set(this.settings.filter((name) => trials.some((trial) => typeof trial.settings[name] === "string")));
    this.drawHead();
    const value = this.columns().find(([id]) => id === this.by)?.[2] ?? STATIC[0][2];
    trials.sort((a, b) => {
      const blank = (one) => value(one) === null || value(one) === undefined;
      const order = compare(value(a), value(b));
      return (this.down && !blank(a) && !blank(b) ? -order : order) || a.trial - b.trial;
    });
    trials.forEach((trial, index) => {
      const row = this.row(trial);
      if (this.body.rows[index] !== row) this.body.insertBefore(row, this.body.rows[index] ?? null);
    });
    for (const [key, row] of this.rows) {
      if (state.trials.has(key)) continue;
      row.remove();
      this.rows.delete(key);
    }
  }

  drawHead() {
    const names = JSON.stringify([this.settings, this.by, this.down]);
    if (names === this.names) return;
    const focused = document.activeElement?.dataset?.by;
    this.names = names;
    const line = make("tr");
    for (const [id, title] of this.columns()) {
      const here = id === this.by;
      const cell = make("th", "", { scope: "col", "aria-sort": here ? (this.down ? "descending" : "ascending") : "none" });
      if (id === "state" || this.worded.has(title)) cell.className = "text";
      const button = make("button", title + (here ? (this.down ? " ↓" : " ↑") : ""), { type: "button", "data-by": id });
      button.addEventListener("click", () => {
        this.down = this.by === id && !this.down;
        this.by = id;
        this.draw(this.state, this.opened);
      });
      cell.append(button);
      line.append(cell);
    }
    this.head.replaceChildren(line);
    if (focused) this.head.querySelector(`[data-by="${CSS.escape(focused)}"]`)?.focus();
  }

  row(trial) {
    let row = this.rows.get(trial.key);
    if (!row) {
      row = make("tr", "", { "data-key": trial.key });
      const button = make("button", "", { type: "button" });
      button.append(mark(look(trial.trial)), make("span", String(trial.trial)));
      button.setAttribute("aria-label", `Trial ${trial.trial} of ${trial.stage}: settings and events`);
      row.append(make("td"));
      row.cells[0].append(button);
      row.addEventListener("click", () => this.open(trial.key));
      this.rows.set(trial.key, row);
    }
    const opened = String(trial.key === this.opened);
    if (row.dataset.open !== opened) row.dataset.open = opened;
    row.classList.toggle("over", trial.state !== "running");
    this.columns().slice(1).forEach(([id, , value], index) => {
      const cell = row.cells[index + 1] ?? row.insertCell();
      const given = value(trial);
      const text = given === null || given === undefined ? "–" : id.startsWith("set:") ? setting(given) : (TEXT[id] ?? String)(given);
      if (cell.textContent !== text) cell.textContent = text;
      const worded = id === "state" || typeof given === "string";
      cell.className = text.startsWith("stopping") ? "text stopping" : worded ? "text" : "";
    });
    while (row.cells.length > this.columns().length) row.deleteCell(-1);
    return row;
  }

  recolor() {
    for (const [key, row] of this.rows) row.querySelector("svg").replaceWith(mark(look(Number(key.split("/").at(-1)))));
  }
}
