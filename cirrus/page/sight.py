"""A run as its page shows it, reduced from its events: bounded however long the run is."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import asdict, dataclass

from cirrus.core.ids import stage_of, trial_of
from cirrus.core.tally import Tally, TrialSight
from cirrus.events import (
    Event,
    InvokeFailed,
    LossReported,
    ResourcesReported,
    RunFinished,
    RunStarted,
    Setting,
    ShardRestarted,
    StageFinished,
    StageProgress,
    TrialFinished,
    WorkerReplaced,
    WorkerStopped,
)
from cirrus.page.series import Chart, Value
from cirrus.sentences import sentence

LOG = 500
"""Lines of the log that are kept."""

PAUSE = 1.0
"""Seconds between two points of a rate."""

LONGEST = 400
"""Characters of a line of the log."""

TROUBLE = ShardRestarted | InvokeFailed | WorkerReplaced


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the log; lines are numbered from 1."""

    n: int
    at: float
    text: str
    stage: str
    trial: int | None
    trouble: bool


def number(value: float) -> Value:
    """What JSON can hold of a number."""
    return value if math.isfinite(value) else None


def _setting(value: Setting) -> Setting | None:
    return number(value) if isinstance(value, float) else value


class PageSight:
    """The state of the page: the run, what it uses, stages, trials, curves and the log."""

    def __init__(self, run_id: str) -> None:
        self._tally = Tally()
        self._chart = Chart()
        self._run: dict[str, object] = {"id": run_id, "state": "waiting", "reason": "", "store": "", "stopping": False}
        self._use: dict[str, object] = {}
        self._best: dict[tuple[str, int], float] = {}
        self._reasons: dict[tuple[str, int], str] = {}
        self._stopping: set[int] = set()
        self._log: deque[Line] = deque(maxlen=LOG)
        self._lines = 0
        self._told_lines = 0
        self._rates: dict[str, tuple[float, int]] = {}
        self._sections: set[str] = set()
        self._touched: set[tuple[str, int]] = set()
        self._base = 0.0
        self._at = 0.0

    def take(self, event: Event) -> None:
        """Take in what happened."""
        if isinstance(event, RunStarted) and event.epoch > 1:
            self._base = self._at - event.at  # another driver's seconds begin at 0
        self._at = max(self._at, self._base + event.at)
        self._tally.take(event)
        self._sections.add("stages")
        self._touch(event)
        self._plot(event)
        self._state(event)
        self._note(event)

    def lost(self, reason: str) -> None:
        """Nothing more will be heard of the run, for ``reason``, although it has not ended."""
        if self._run["state"] in {"waiting", "running"}:
            self._run |= {"state": "parked", "reason": reason, "stopping": False}
            self._sections.add("run")
            self._touched |= set(self._tally.trials)

    def ordered(self, trial: int | None) -> None:
        """Somebody has ordered a trial, or the run, to end."""
        if trial is None:
            self._run["stopping"] = True
            self._sections.add("run")
            return
        self._stopping.add(trial)
        self._touched |= {key for key in self._tally.trials if key[1] == trial}

    def refused(self, trial: int | None) -> None:
        """The order could not be carried out."""
        if trial is None:
            self._run["stopping"] = False
            self._sections.add("run")
            return
        self._stopping.discard(trial)
        self._touched |= {key for key in self._tally.trials if key[1] == trial}

    def news(self) -> dict[str, object]:
        """What has changed since the last time; nothing where nothing has."""
        found: dict[str, object] = {name: self._section(name) for name in sorted(self._sections)}
        if self._touched:
            found["trials"] = [self._trial(key) for key in sorted(self._touched)]
        lines = [asdict(line) for line in self._log if line.n > self._told_lines]
        if lines:
            found["log"] = lines
        found |= self._chart.news()
        if found:
            found["at"] = self._at
        self._told_lines = self._lines
        self._sections.clear()
        self._touched.clear()
        return found

    def whole(self) -> dict[str, object]:
        """All that viewers know who have been told everything until now."""
        return {
            **{name: self._section(name) for name in ("run", "use", "stages")},
            "trials": [self._trial(key) for key in self._tally.trials],
            "log": [asdict(line) for line in self._log if line.n <= self._told_lines],
            "set": self._chart.told,
            "at": self._at,
        }

    def _section(self, name: str) -> object:
        match name:
            case "run":
                return self._run
            case "use":
                return self._use
            case _:
                return [self._stage(stage) for stage in self._tally.stages]

    def _stage(self, name: str) -> dict[str, object]:
        sight = self._tally.stages[name]
        trials = {number for stage, number in self._tally.trials if stage == name}
        return {
            "name": name, "wished": sight.wished, "working": self._tally.workers(name), "done": sight.done,
            "total": sight.total, "rows": sight.rows, "rate": round(sight.rate, 1), "seconds": sight.seconds,
            "loss": None if sight.loss is None else number(sight.loss), "trials": len(trials),
        }  # fmt: skip

    def _trial(self, key: tuple[str, int]) -> dict[str, object]:
        trial = self._tally.trials[key]
        sight = self._tally.stages.get(trial.stage)
        here = () if sight is None else sight.here
        return {
            "key": f"{trial.stage}/{trial.number}", "stage": trial.stage, "trial": trial.number,
            "settings": {name: _setting(value) for name, value in trial.settings.items()},
            "state": self._state_of(trial), "reason": self._reasons.get(key, ""), "loss": number(trial.loss),
            "best": self._best.get(key), "samples": trial.samples, "dollars": number(trial.dollars),
            "workers": sum(trial_of(pool) == trial.number for pool, _ in here),
            "stopping": trial.number in self._stopping and trial.state == "running",
        }  # fmt: skip

    def _state_of(self, trial: TrialSight) -> str:
        """A trial that goes on stands still where its run does."""
        still = trial.state == "running" and self._run["state"] not in {"waiting", "running"}
        return "stopped" if still else trial.state

    def _touch(self, event: Event) -> None:
        """Which trial's row is another now."""
        pool: str = getattr(event, "stage", "")
        trial = getattr(event, "trial", None)
        key = stage_of(pool), trial_of(pool) if trial is None else trial
        if key[1] is not None and key in self._tally.trials:
            self._touched.add((key[0], key[1]))
        match event:
            case LossReported(loss=loss) if key[1] is not None and math.isfinite(loss):
                self._best[key[0], key[1]] = min(loss, self._best.get((key[0], key[1]), loss))
            case TrialFinished(stage=stage, trial=over, reason=reason):
                self._reasons[stage, over] = reason
            case StageFinished(stage=stage):
                self._touched |= {one for one in self._tally.trials if one[0] == stage}
            case _:
                pass

    def _plot(self, event: Event) -> None:
        at = round(self._base + event.at, 3)
        match event:
            case LossReported(stage=stage, trial=trial):
                line = stage if trial is None else f"{stage}/{trial}"
                values = (event.dollars, event.loss, event.train_loss)
                self._chart.take(f"loss/{line}", at, event.samples, *map(number, values))
            case StageProgress(stage=stage, steps=steps) if steps:
                self._rate(stage, at, steps)
            case ResourcesReported():
                for stage in {*event.wished, *event.working}:
                    wished, working = event.wished.get(stage, 0), event.working.get(stage, 0)
                    self._chart.take(f"workers/{stage}", at, wished, working)
                money = event.dollars, event.dollars_per_second
                self._chart.take("use", at, *money, event.worker_mb, event.shard_mb, event.driver_mb)
            case _:
                pass

    def _rate(self, stage: str, at: float, steps: int) -> None:
        before, known = self._rates.get(stage, (at, steps))
        if steps < known:  # a driver that took the run up counts again
            before, known = at, steps
        if at - before >= PAUSE:
            self._chart.take(f"rate/{stage}", at, round((steps - known) / (at - before), 1))
            before, known = at, steps
        self._rates[stage] = before, known

    def _state(self, event: Event) -> None:
        match event:
            case RunStarted(run_id=run_id, store=store):
                self._run |= {"id": run_id, "store": store, "state": "running", "reason": "", "stopping": False}
                self._sections.add("run")
                self._touched |= set(self._tally.trials)
            case RunFinished(outcome=outcome, reason=reason, dollars=dollars):
                self._run |= {"state": outcome, "reason": reason, "stopping": False}
                self._use |= {"dollars": dollars, "dollars_per_second": 0.0, "working": 0, "wished": 0}
                for sight in self._tally.stages.values():
                    sight.here.clear()
                self._sections |= {"run", "use"}
                self._touched |= set(self._tally.trials)
            case ResourcesReported():
                self._use = {
                    "dollars": event.dollars, "dollars_per_second": event.dollars_per_second, "budget": event.budget,
                    "worker_mb": event.worker_mb, "shard_mb": event.shard_mb, "driver_mb": event.driver_mb,
                    "wished": sum(event.wished.values()), "working": sum(event.working.values()),
                }  # fmt: skip
                self._sections.add("use")
            case _:
                pass

    def _note(self, event: Event) -> None:
        """Say it in the log, where it is not what curves and rows say already."""
        text = "" if isinstance(event, LossReported | StageProgress) else sentence(event)
        match event:
            case WorkerStopped(stage=pool, slot=slot, reason=reason):
                text = f"{pool}: worker {slot} has left: {reason}"
            case RunFinished(outcome=outcome, reason=reason):
                text = f"run {outcome}" + (f": {reason}" if reason else "")
            case _:
                pass
        if not text:
            return
        self._lines += 1
        pool = getattr(event, "stage", "")
        trial = getattr(event, "trial", None)
        whose = trial_of(pool) if trial is None else trial
        at = round(self._base + event.at, 2)
        trouble = isinstance(event, TROUBLE)
        self._log.append(Line(self._lines, at, text[:LONGEST], stage_of(pool), whose, trouble))
