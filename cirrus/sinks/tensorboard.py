"""``cirrus.tensorboard``: a run's curves as event files that TensorBoard reads."""

from __future__ import annotations

import io
import itertools
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cirrus import checks
from cirrus.actors.kernel import Kernel
from cirrus.clock import Clock
from cirrus.events import Event, LossReported, ResourcesReported, RunStarted, TrialFinished, TrialStarted
from cirrus.sinks.appended import Appended
from cirrus.sinks.base import Outlet
from cirrus.sinks.lines import figures, line
from cirrus.sinks.written import Written


@dataclass(frozen=True, slots=True)
class TensorBoard:
    """A folder of event files."""

    folder: Path

    @property
    def name(self) -> str:
        return f"tensorboard({str(self.folder)!r})"

    def outlet(self, kernel: Kernel) -> Outlet:
        return Written(kernel, "tensorboard", lambda: _Curves(self.folder, kernel.clock))


class _Curves:
    """One file for each line, in a folder of its own, which is what TensorBoard draws in one colour."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._clock = clock
        self._run = "run"
        self._zero = clock.wall()
        self._files: dict[str, _EventFile] = {}

    def take(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._run, self._zero = event.run_id, self._clock.wall() - event.at
        at = self._zero + event.at
        match event:
            case LossReported() | TrialFinished():
                self._file(line(event.stage, event.trial), at).scalars(at, event.samples, figures(event))
            case TrialStarted(stage=stage, trial=trial, settings=settings):
                self._file(line(stage, trial), at).settings(at, line(stage, trial), settings)
            case ResourcesReported():
                used = {"run/dollars": event.dollars, "run/workers": float(sum(event.working.values()))}
                self._file("", at).scalars(at, int(event.at), used)
            case _:
                pass

    def flush(self) -> None:
        for file in self._files.values():
            file.flush()

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    def _file(self, name: str, at: float) -> _EventFile:
        if name not in self._files:
            self._files[name] = _EventFile(self._folder / self._run / name, at)
        return self._files[name]


class _EventFile:
    """Records of TensorBoard's events in a new file of a folder."""

    def __init__(self, folder: Path, at: float) -> None:
        from tensorboard.compat.proto.event_pb2 import Event as Record  # noqa: PLC0415  an optional extra
        from tensorboard.compat.proto.summary_pb2 import Summary  # noqa: PLC0415  the same
        from tensorboard.summary.writer.record_writer import RecordWriter  # noqa: PLC0415  the same

        self._record = Record
        self._summary = Summary
        self._made = io.BytesIO()
        self._records = RecordWriter(self._made)
        folder.mkdir(parents=True, exist_ok=True)
        name = f"events.out.tfevents.{int(at):010d}.{socket.gethostname()}.{os.getpid()}"
        self._file = Appended(_unused(folder, name))
        self._add(Record(wall_time=at, file_version="brain.Event:2"))

    def scalars(self, at: float, step: int, figures: Mapping[str, float]) -> None:
        values = [self._summary.Value(tag=name, simple_value=value) for name, value in figures.items()]
        self._add(self._record(wall_time=at, step=step, summary=self._summary(value=values)))

    def settings(self, at: float, name: str, settings: Mapping[str, float | int | str | bool]) -> None:
        """What TensorBoard's table of hyper-parameters shows."""
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb  # noqa: PLC0415  an optional extra

        made = hparams_pb(dict(settings), trial_id=name, start_time_secs=at)
        self._add(self._record(wall_time=at, summary=made))

    def flush(self) -> None:
        self._file.add(self._made.getvalue())
        self._made.seek(0)
        self._made.truncate()
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def _add(self, record: Any) -> None:
        self._records.write(record.SerializeToString())


def _unused(folder: Path, name: str) -> Path:
    paths = (folder / f"{name}.{number}" for number in itertools.count())
    return next(path for path in paths if not path.exists())


def tensorboard(folder: str | os.PathLike[str]) -> TensorBoard:
    """A sink: curves and final figures for ``tensorboard --logdir folder``; a line for each stage and each trial.

    A step is a row that was learnt from. Trials' settings are in the table of hyper-parameters. Needs the extra
    ``tensorboard``, but neither TensorFlow nor PyTorch; ``PipelineError`` where it is not installed.
    """
    checks.installed("tensorboard", "tensorboard")
    return TensorBoard(Path(folder))
