// The side panel of one line, the log, the stages and the question before something ends.
import { count, dollars, loss, make, put, setting, time } from "./format.js";
import { stateOf } from "./table.js";

const $ = (id) => document.getElementById(id);

export const entry = (line) => {
  const item = make("li", "", { "data-n": line.n });
  if (line.trouble) item.className = "trouble";
  item.append(make("time", `${line.at.toFixed(1)} s`), make("span", line.text));
  return item;
};

export const drawLog = (state) => {
  const log = $("log");
  const newest = Number(log.firstElementChild?.dataset.n ?? 0);
  for (const line of state.log) if (line.n > newest) log.prepend(entry(line));
  while (log.childElementCount > 500) log.lastElementChild.remove();
};

const pairs = (element, entries) => element.replaceChildren(...entries.flatMap(([name, value]) => [make("dt", name), make("dd", value)]));

export const drawPanel = (state, key) => {
  const trial = state.trials.get(key);
  const stage = state.stages.find((one) => one.name === key);
  if (!trial && !stage) return;
  put("panel-title", trial ? `Trial ${trial.trial} of ${trial.stage}` : `Stage ${key}`);
  const reason = trial?.reason ? `: ${trial.reason}` : "";
  put("panel-state", trial ? stateOf(trial) + reason : stage.seconds === null ? "running" : `finished in ${time(stage.seconds)}`);
  $("panel-kill").hidden = !trial;
  $("panel-kill").disabled = !trial || trial.state !== "running" || trial.stopping || state.run.state !== "running";
  pairs($("panel-figures"), trial
    ? [["log loss", loss(trial.loss)], ["best", loss(trial.best)], ["samples", count(trial.samples)], ["cost", dollars(trial.dollars)], ["workers", String(trial.workers)]]
    : [["log loss", loss(stage.loss)], ["rows", count(stage.rows)], ["workers", `${stage.working} of ${stage.wished}`]]);
  const settings = trial ? Object.entries(trial.settings) : [];
  $("panel-settings-title").hidden = !settings.length;
  pairs($("panel-settings"), settings.map(([name, value]) => [name, setting(value)]));
  const lines = state.log.filter((line) => (trial ? line.stage === trial.stage && line.trial === trial.trial : line.stage === key));
  $("panel-log").replaceChildren(...lines.reverse().map(entry));
};

export const drawStages = (state, scale) => {
  const box = $("stages");
  $("no-stages").hidden = state.stages.length > 0;
  for (const stage of state.stages) {
    let row = [...box.children].find((one) => one.dataset.stage === stage.name);
    if (!row) {
      row = make("div", "", { class: "stage", "data-stage": stage.name });
      const bar = make("progress", "", { "aria-label": `Progress of ${stage.name}`, class: "bar" });
      const steps = make("div", "", { class: "scale" });
      const button = (text, by, label) => {
        const made = make("button", text, { type: "button", "aria-label": `${label} worker for ${stage.name}` });
        made.addEventListener("click", () => scale(stage.name, by));
        return made;
      };
      steps.append(button("−", -1, "One less"), make("span"), button("+", 1, "One more"));
      row.append(make("strong", stage.name), bar, make("span", "", { class: "sub" }), steps);
      box.append(row);
    }
    const [, bar, told, steps] = row.children;
    const over = stage.seconds !== null;
    if (over || stage.total) { bar.max = over ? 1 : stage.total; bar.value = over ? 1 : stage.done; } else bar.removeAttribute("value");
    bar.classList.toggle("done", over);
    const amount = stage.total ? `${count(stage.done)} of ${count(stage.total)}` : `${count(stage.done)} units`;
    const rate = stage.rate ? ` · ${count(stage.rate)} rows/s` : "";
    const text = over ? `${count(stage.rows)} rows in ${time(stage.seconds)}${rate}` : amount + rate;
    if (told.textContent !== text) told.textContent = text;
    const stood = !["waiting", "running"].includes(state.run.state);
    const workers = over ? "finished" : stood ? "stopped" : `${stage.working} of ${stage.wished} workers`;
    if (steps.children[1].textContent !== workers) steps.children[1].textContent = workers;
    const still = over || state.run.state !== "running";
    steps.children[0].hidden = steps.children[2].hidden = still;
    steps.children[0].disabled = stage.wished <= 0;
  }
};

export const ask = ({ title, text, more = "", yes, no = "Cancel" }) =>
  new Promise((resolve) => {
    const dialog = $("ask");
    for (const [id, value] of Object.entries({ "ask-title": title, "ask-text": text, "ask-more": more, "ask-yes": yes ?? "", "ask-no": no })) put(id, value);
    $("ask-yes").hidden = !yes;
    dialog.returnValue = "no";
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
    dialog.showModal();
    $("ask-no").focus();
  });
