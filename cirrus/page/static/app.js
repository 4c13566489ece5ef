// The page of a run: opens the session, follows the run, draws what is known, gives orders.
import { drawLoss, drawSmall } from "./charts.js";
import { dollars, loss, memory, put, time, workers } from "./format.js";
import { ask, drawLog, drawPanel, drawStages } from "./panel.js";
import { Table } from "./table.js";

const $ = (id) => document.getElementById(id);
const PAUSE = 400; // milliseconds between two drawings of curves, at least
const state = { run: { state: "waiting" }, use: {}, stages: [], trials: new Map(), log: [], series: new Map(), at: 0 };
let csrf = "", last = "", source = null, heard = 0, open = null, opener = null, due = false, drawn = 0, again = 0;

const view = (name) => { document.body.dataset.view = name; };
const banner = (text) => { $("banner").hidden = !text; put("banner", text); };
const over = () => !["waiting", "running"].includes(state.run.state);

const post = (path, body, header = csrf) =>
  fetch(path, { method: "POST", headers: { "Content-Type": "application/json", "X-Cirrus-CSRF": header }, body: JSON.stringify(body) });

const order = async (path, body) => {
  try {
    const answer = await post(path, body);
    if (answer.ok) return true;
    const told = await answer.json().catch(() => ({ message: `the server answers ${answer.status}` }));
    banner(`This was not done: ${told.message}`);
  } catch {
    if (!over()) banner("This was not done: the server does not answer.");
  }
  return false;
};

// The session: the code behind # goes into a request's body, and away from the address.
const enter = async (code) => {
  const answer = await post("session", { code }, "login");
  if (answer.ok) { csrf = (await answer.json()).csrf; return true; }
  put("login-text", answer.status === 429 ? "There were too many wrong tries; wait a minute." : "This key does not open the page any more: each works once. Ask whoever has the page open for another, or start it again.");
  return false;
};

const begin = async () => {
  const code = decodeURIComponent(location.hash.slice(1));
  if (code && code !== "main") history.replaceState(null, "", location.pathname);
  const known = await fetch("session");
  if (known.ok) csrf = (await known.json()).csrf;
  else if (!code || code === "main" || !(await enter(code))) { view("login"); $("code").focus(); return; }
  follow();
};

// The stream: a whole state once, then what changed. Ids rise by one, so nothing is taken twice.
const follow = () => {
  source?.close();
  source = new EventSource(last ? `events?after=${encodeURIComponent(last)}` : "events");
  const listen = (name, take) => source.addEventListener(name, (event) => {
    heard = performance.now();
    const fresh = name === "whole" || event.lastEventId !== last;
    last = event.lastEventId;
    if (fresh) { take(JSON.parse(event.data)); schedule(); }
    live();
  });
  listen("whole", (whole) => {
    state.trials.clear(); state.series.clear(); state.log = []; $("log").replaceChildren();
    merge(whole);
  });
  listen("update", merge);
  source.addEventListener("beat", () => { heard = performance.now(); live(); });
  source.addEventListener("open", () => { heard = performance.now(); if (last) live(); });
  source.addEventListener("error", lost);
};

const live = () => { clearTimeout(again); view(over() ? "ended" : "live"); if ($("banner").dataset.lost) { banner(""); delete $("banner").dataset.lost; } };

const lost = () => {
  if (over()) {
    source.close();
    view("ended");
    banner(`The run is over and its page is not served any more. cirrus attach ${state.run.id} --dashboard opens it again.`);
    return;
  }
  view("lost");
  $("banner").dataset.lost = "yes";
  banner("The connection is lost. Trying again; what is shown is as it was.");
  put("state", "no connection");
  $("state").dataset.state = "lost";
  if (source.readyState === EventSource.CLOSED) {
    clearTimeout(again);
    again = setTimeout(async () => {
      try { (await fetch("session")).ok ? follow() : location.reload(); } catch { lost(); }
    }, 1500);
  }
};

const merge = (news) => {
  for (const name of ["run", "use", "stages", "at"]) if (name in news) state[name] = news[name];
  for (const trial of news.trials ?? []) state.trials.set(trial.key, trial);
  for (const [key, rows] of Object.entries(news.set ?? {})) state.series.set(key, rows);
  for (const [key, rows] of Object.entries(news.add ?? {})) {
    if (!state.series.has(key)) state.series.set(key, []);
    state.series.get(key).push(...rows);
  }
  state.log = [...state.log, ...(news.log ?? [])].slice(-500);
};

// Drawing: figures at once, curves from time to time, nothing while nobody looks.
const schedule = () => {
  if (due) return;
  due = true;
  setTimeout(() => requestAnimationFrame(draw), Math.max(0, drawn + PAUSE - performance.now()));
};

const shown = () => {
  const keys = [...state.series.keys()].filter((key) => key.startsWith("loss/")).map((key) => key.slice(5));
  const show = document.querySelector("[name=show]:checked").value;
  if (show === "all") return keys;
  const value = (key) => {
    const rows = state.series.get(`loss/${key}`);
    const known = state.trials.has(key) ? state.trials.get(key).loss : rows.at(-1)?.[3];
    return known ?? Infinity;
  };
  const lines = keys.filter((key) => state.trials.has(key));
  const ranked = (lines.length ? lines : keys).sort((a, b) => value(a) - value(b) || a.localeCompare(b, "en", { numeric: true }));
  return show === "best" ? ranked.slice(0, 5) : ranked.slice(-5);
};

const draw = () => {
  due = false;
  drawn = performance.now();
  drawFigures();
  drawStages(state, rescale);
  const axis = Number(document.querySelector("[name=axis]:checked").value);
  const keys = shown();
  $("no-loss").hidden = keys.length > 0;
  $("loss").hidden = !keys.length;
  if (keys.length) drawLoss(state, keys, axis, open, show);
  drawSmall(state);
  $("trials-card").hidden = !state.trials.size;
  if (state.trials.size) {
    table.draw(state, open);
    const states = [...state.trials.values()].map((trial) => trial.state);
    put("trials-sum", Object.entries(Object.groupBy(states, (name) => name)).map(([name, all]) => `${all.length} ${name}`).join(" · "));
  }
  drawLog(state);
  if (open) drawPanel(state, open);
};

const drawFigures = () => {
  const { run, use } = state;
  const working = use.working ?? 0;
  const name = run.stopping && !over() ? `stopping, ${working} still working` : run.state + (run.reason && over() ? `: ${run.reason}` : "");
  if (document.body.dataset.view !== "lost") {
    put("state", name);
    $("state").dataset.state = run.stopping ? "stopping" : run.state;
  }
  document.title = `${run.state} · ${run.id ?? ""} · cirrus`;
  put("run-id", run.id ?? "");
  $("kill-all").disabled = over() || run.stopping;
  const tuned = [...state.trials.values()].filter((trial) => trial.best !== null).sort((a, b) => a.best - b.best)[0];
  const trained = state.stages.filter((stage) => stage.loss !== null && !stage.trials).sort((a, b) => a.loss - b.loss)[0];
  const trialWins = tuned && (!trained || tuned.best < trained.loss);
  put("f-loss", loss(trialWins ? tuned.best : trained?.loss));
  put("f-loss-of", trialWins ? `trial ${tuned.trial} of ${tuned.stage}` : trained ? trained.name : "not measured yet");
  put("f-dollars", dollars(use.dollars));
  put("f-rate", use.dollars_per_second === undefined ? "" : `${dollars(use.dollars_per_second)} per second`);
  put("f-workers", use.working === undefined ? "–" : String(working));
  put("f-wished", use.wished === undefined ? "" : `${use.wished} wished for`);
  const total = (use.worker_mb ?? 0) + (use.shard_mb ?? 0) + (use.driver_mb ?? 0);
  put("f-memory", total ? memory(use.shard_mb) : "–");
  put("f-memories", total ? `shards; largest worker ${memory(use.worker_mb)}, driver ${memory(use.driver_mb)}` : "");
  put("f-time", time(state.at));
  const now = state.stages.find((stage) => stage.seconds === null);
  put("f-stage", over() ? "from beginning to end" : now ? now.name : "");
  $("budget").hidden = !use.budget;
  if (use.budget) {
    put("f-budget", `${Math.round((100 * use.dollars) / use.budget)} %`);
    put("f-budget-of", `of ${dollars(use.budget)}`);
    $("budget-bar").value = Math.min(1, use.dollars / use.budget);
    $("budget-bar").classList.toggle("full", use.dollars >= 0.9 * use.budget);
  }
};

// What people do.
const show = (key) => {
  if (!open) opener = document.activeElement;
  open = key;
  $("panel").hidden = false;
  drawPanel(state, key);
  $("panel-title").focus();
  schedule();
};
const hide = () => {
  open = null;
  $("panel").hidden = true;
  if (opener?.isConnected) opener.focus();
  schedule();
};
const rescale = (name, by) => {
  const stage = state.stages.find((one) => one.name === name);
  stage.wished = Math.max(0, stage.wished + by);
  drawStages(state, rescale);
  return order("scale", { stage: name, workers: stage.wished });
};
const table = new Table($("trials"), show);

$("panel-close").addEventListener("click", hide);
document.addEventListener("keydown", (event) => { if (event.key === "Escape" && open && !$("ask").open) hide(); });
$("panel-kill").addEventListener("click", async () => {
  const trial = state.trials.get(open);
  const text = `It ends for good, with its ${workers(trial.workers)}. Others go on.`;
  if (await ask({ title: `Kill trial ${trial.trial} of ${trial.stage}?`, text, yes: "Kill line" })) await order("kill", { trial: trial.trial });
});
$("kill-all").addEventListener("click", async () => {
  const text = `The run ends for good, with its ${workers(state.use.working ?? 0)}. It cannot be resumed.`;
  if (await ask({ title: "Kill the whole run?", text, yes: "Kill all" })) await order("kill", {});
});
$("link").addEventListener("click", async () => {
  const answer = await post("code", {});
  if (!answer.ok) return banner("No address was to be had.");
  const more = `${location.origin}${location.pathname}#${(await answer.json()).code}`;
  await ask({ title: "For another viewer", text: "This address opens the page once, in any browser of this machine:", more, no: "Close" });
});
$("login-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const code = $("code").value.trim();
  $("code").value = "";
  if (code && (await enter(code.slice(code.indexOf("#") + 1)))) { view("connecting"); follow(); }
});
for (const input of document.querySelectorAll("[name=axis], [name=show]")) input.addEventListener("change", () => { drawn = 0; schedule(); });

const THEMES = { "": ["Auto", "as the system has them"], light: ["Light", "light"], dark: ["Dark", "dark"] };
const paint = (theme) => {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  put("theme", THEMES[theme][0]);
  $("theme").setAttribute("aria-label", `Colours: ${THEMES[theme][1]}`);
  table.recolor();
  schedule();
};
$("theme").addEventListener("click", () => {
  const names = Object.keys(THEMES);
  const next = names[(names.indexOf(document.documentElement.dataset.theme ?? "") + 1) % names.length];
  localStorage.setItem("cirrus-theme", next);
  paint(next);
});
const kept = localStorage.getItem("cirrus-theme") ?? "";
paint(kept in THEMES ? kept : "");
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { table.recolor(); schedule(); });
$("plotly").addEventListener("load", schedule);
setInterval(() => { if (source && !over() && performance.now() - heard > 45000 && document.body.dataset.view === "live") { source.close(); lost(); } }, 5000);
begin().catch(() => { view("login"); put("login-text", "The server does not answer."); });
