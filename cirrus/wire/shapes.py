"""The plan of every type that a codec is asked for, made once.

Where several classes are possible (a union, ``Source``, ``Condition``, ``ModelSpec``) a map carries a ``type``: the
class's name, or ``module:name`` for models, which users may add to.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Literal, NewType, Union, get_args, get_origin

from cirrus.models import ModelSpec
from cirrus.search import Choice, Domain, Integers, LogUniform, Uniform
from cirrus.sources import CriteoSource, CsvSource, LibsvmSource, Source
from cirrus.until import Both, Condition, Either, Epochs, LossBelow, Minutes, Samples
from cirrus.wire.plain import SCALARS, Shape, choice, fixed, literal, mapping, sequence
from cirrus.wire.records import Models, Record, Tagged

FAMILIES: dict[type, tuple[type, ...]] = {
    Source: (CriteoSource, CsvSource, LibsvmSource),
    Condition: (Epochs, LossBelow, Samples, Minutes, Either, Both),
    Domain: (Choice, Uniform, LogUniform, Integers),
}


class Shapes:
    """The plans of all types that one codec needs."""

    def __init__(self) -> None:
        self._records: dict[type, Record] = {}

    def of(self, kind: object) -> Shape:
        """The plan of a type; ``TypeError`` for one that cannot be sent."""
        if isinstance(kind, NewType):
            return self.of(kind.__supertype__)
        if kind is None or kind in SCALARS:
            return SCALARS[kind or NoneType]
        if isinstance(kind, type) and get_origin(kind) is None:
            return self._class(kind)
        return self._generic(kind)

    def record(self, kind: type) -> Record:
        """The plan of a dataclass."""
        if kind not in self._records:
            if not dataclasses.is_dataclass(kind) or not kind.__dataclass_params__.frozen:  # type: ignore[attr-defined]
                raise TypeError(f"{kind.__name__} cannot be sent: not a frozen dataclass")
            record = self._records[kind] = Record(kind)
            record.complete(self.of)
        return self._records[kind]

    def _class(self, kind: type) -> Shape:
        if kind is ModelSpec:
            return Models(self.record, ()).shape
        if kind in FAMILIES:
            return Tagged(tuple(map(self.record, FAMILIES[kind]))).shape
        return self.record(kind).shape

    def _generic(self, kind: object) -> Shape:
        origin, arguments = get_origin(kind), get_args(kind)
        if origin is Literal:
            return literal(arguments)
        if origin in (Union, UnionType):
            return self._union(arguments)
        if origin is tuple and arguments[1:] == (...,):
            return sequence(self.of(arguments[0]))
        if origin is tuple:
            return fixed(tuple(map(self.of, arguments)))
        if origin in (dict, Mapping) and self.of(arguments[0]).plains == (str,):
            return mapping(self.of(arguments[1]))
        raise TypeError(f"{kind!r} cannot be sent")

    def _union(self, members: tuple[object, ...]) -> Shape:
        classes: list[type] = []
        shapes: list[Shape] = []
        for member in members:
            if member is ModelSpec:
                continue
            if isinstance(member, type) and (member in FAMILIES or dataclasses.is_dataclass(member)):
                classes += FAMILIES.get(member, (member,))
            else:
                shapes.append(self.of(member))
        records = tuple(map(self.record, classes))
        if ModelSpec in members:
            shapes.append(Models(self.record, records).shape)
        elif len(records) == 1:
            shapes.append(records[0].shape)
        elif records:
            shapes.append(Tagged(records).shape)
        return shapes[0] if len(shapes) == 1 else choice(shapes)
