"""Descriptions of tables as JSON: the same text in requests and in snapshots, read back with every field checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import TypeAlias

from cirrus import checks
from cirrus.errors import PipelineError, WireError
from cirrus.learn.base import TableSpec
from cirrus.optimizers import FTRL, SGD, Adagrad, Adam, Momentum, Nesterov, Optimizer

Plain: TypeAlias = "int | float | str | Mapping[str, Plain] | None"

_RULES: dict[str, type[Optimizer]] = {one.__name__: one for one in (SGD, Momentum, Nesterov, Adagrad, Adam, FTRL)}
_FIELDS = frozenset(one.name for one in fields(TableSpec))
_MOST = 2**32


def spec_to_json(spec: TableSpec) -> dict[str, Plain]:
    """The description as values that JSON can express; the optimiser is a mapping with its class under ``rule``."""
    rule = {"rule": type(spec.optimizer).__name__, **asdict(spec.optimizer)}
    return {**asdict(spec), "optimizer": rule}


def spec_from_json(given: object) -> TableSpec:
    """The description that ``spec_to_json`` gave; ``WireError`` where a field is unknown, missing or out of range."""
    if not isinstance(given, Mapping) or set(given) != _FIELDS:
        raise WireError(f"a table is described by exactly {', '.join(sorted(_FIELDS))}")
    try:
        spec = TableSpec(**{**given, "optimizer": _optimizer(given["optimizer"])})
        _check(spec)
    except PipelineError as error:
        raise WireError(f"a table's {error}") from error
    return spec


def _optimizer(given: object) -> Optimizer:
    if not isinstance(given, Mapping):
        raise WireError("a table's optimizer is a mapping")
    rule = given.get("rule")
    kind = _RULES.get(rule) if isinstance(rule, str) else None
    settings = {name: value for name, value in given.items() if name != "rule"}
    if kind is None or set(settings) != {one.name for one in fields(kind)}:
        raise WireError("a table's optimizer has an unknown rule, or other settings than that rule")
    return kind(**settings)


def _check(spec: TableSpec) -> None:
    checks.name("name", spec.name)
    checks.integer("rows", spec.rows, 1, _MOST)
    checks.integer("width", spec.width, 1, 65535)
    checks.within("l2", spec.l2, 0.0, 1e6)
    checks.within("l1", spec.l1, 0.0, 1e6)
    if spec.free is not None:
        checks.integer("free", spec.free, 0, spec.rows - 1)
