"""What the steps of a preparation mean for each column of a source, found out before any row is seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from cirrus.errors import PipelineError
from cirrus.learn.scaling import Needs
from cirrus.sources import CriteoSource, CsvSource, Kind, LibsvmSource, Source
from cirrus.steps import Bucket, Hash, MinMax, Standard, Step

Scaler = Literal["minmax", "standard"]


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """One column: what it is in the source, how it is scaled, in order, and whether it is bucketed after that."""

    name: str
    kind: Kind
    scalers: tuple[Scaler, ...] = ()
    bucketed: bool = False

    @property
    def number(self) -> bool:
        """Whether it is still a number after all steps."""
        return self.kind == "number" and not self.bucketed


def plans(source: Source, steps: tuple[Step, ...]) -> tuple[ColumnPlan, ...]:
    """A plan for each column of a definite source, in order; ``PipelineError`` where steps and columns do not agree."""
    found = {name: ColumnPlan(name, kind) for name, kind in columns_of(source).items()}
    if not found:
        raise PipelineError("data.columns", (), "at least one column beside the label")
    for step in steps:
        if not isinstance(step, Hash):
            for name in _named(step, found):
                found[name] = _planned(found[name], step)
    if hashing(steps) is None:
        for plan in found.values():
            if not plan.number:
                raise PipelineError("prepare.steps", plan.name, "number columns only, or Hash(bits) as the last step")
    return tuple(found.values())


def needs(source: Source, steps: tuple[Step, ...]) -> Needs:
    """What a pass over the training rows must find out before they can be encoded."""
    if isinstance(source, LibsvmSource):
        return Needs(highest=source.features is None)
    return Needs(tuple(plan.name for plan in plans(source, steps) if plan.scalers))


def columns_of(source: Source) -> Mapping[str, Kind]:
    """The columns of a definite source beside the label, in order."""
    if isinstance(source, CriteoSource):
        numbers: dict[str, Kind] = dict.fromkeys(source.integers, "number")
        return numbers | dict.fromkeys(source.categories, "category")
    if isinstance(source, CsvSource) and source.columns is not None:
        return source.columns
    raise PipelineError("data", source, "a source whose columns are known")


def hashing(steps: tuple[Step, ...]) -> Hash | None:
    """The step that hashes, if there is one; it must be the last."""
    if any(isinstance(step, Hash) for step in steps[:-1]):
        raise PipelineError("prepare.steps", steps, "Hash once, as the last step")
    last = steps[-1] if steps else None
    return last if isinstance(last, Hash) else None


def _named(step: MinMax | Standard | Bucket, found: Mapping[str, ColumnPlan]) -> tuple[str, ...]:
    """The columns that a step is for: those that it names, or all numbers."""
    if step.columns is None:
        return tuple(name for name, plan in found.items() if plan.number)
    for name in step.columns:
        kind = type(step).__name__
        if name not in found:
            raise PipelineError(f"{kind}.columns", name, f"one of the columns {', '.join(map(repr, found))}")
        if not found[name].number:
            raise PipelineError(f"{kind}.columns", name, "a number column that is not bucketed before")
    return step.columns


def _planned(plan: ColumnPlan, step: MinMax | Standard | Bucket) -> ColumnPlan:
    match step:
        case MinMax():
            return replace(plan, scalers=(*plan.scalers, "minmax"))
        case Standard():
            return replace(plan, scalers=(*plan.scalers, "standard"))
        case Bucket():
            return replace(plan, bucketed=True)
