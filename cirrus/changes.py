"""Fields inside fields of frozen values, named by paths such as ``optimizer.rate``, set all at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TypeVar

from cirrus.errors import PipelineError

S = TypeVar("S")


def changed(asked: str, value: S, settings: Mapping[str, object], inside: str = "") -> S:
    """The value with the field of each path set, a whole before what is inside it, however they are ordered.

    Nothing in between is built, so that only the outcome must be valid. ``PipelineError`` about ``asked`` where there
    is no such field. ``inside`` is the path of the value itself, with a dot at its end.
    """
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        raise PipelineError(asked, inside + next(iter(settings)), "the name of a field")
    names = [one.name for one in dataclasses.fields(value)]
    deeper: dict[str, dict[str, object]] = {}
    for path, given in settings.items():
        name, _, rest = path.partition(".")
        if name not in names:
            raise PipelineError(asked, inside + path, f"one of the fields {', '.join(names)}")
        deeper.setdefault(name, {})[rest] = given
    made: dict[str, object] = {}
    for name, rest_of in deeper.items():
        start = rest_of.pop("", getattr(value, name))
        made[name] = changed(asked, start, rest_of, f"{inside}{name}.") if rest_of else start
    return dataclasses.replace(value, **made)
