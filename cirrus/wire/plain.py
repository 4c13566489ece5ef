"""Plain values, which msgpack and JSON know: how typed ones become plain and back, with every type checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from types import NoneType
from typing import Any, Self

NOT_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
"""How JSON, which has no such numbers, writes them."""

Turn = Callable[[Any, int], Any]
"""From a value and its depth to the value on the other side; ``Mismatch``."""


class Mismatch(Exception):
    """A value is not what its type says; it finds its way out through the fields that it lies in."""

    def __init__(self, expected: str, got: object) -> None:
        """Say what was expected; of what came only the type is told, since it may be a secret."""
        self.path = ""
        self.expected = expected
        self.got = type(got).__name__
        super().__init__(expected, self.got)

    def inside(self, field: str) -> Self:
        """The same, seen from one level further out."""
        self.path = f"{field}.{self.path}" if self.path and not self.path.startswith("[") else field + self.path
        return self

    def __str__(self) -> str:
        return f"{self.path or 'message'}: expected {self.expected}, got {self.got}"


@dataclass(frozen=True, slots=True)
class Shape:
    """A type's plan. In a union it dumps ``values`` and loads ``plains``, and ``weak`` ones that no other takes."""

    values: tuple[type, ...]
    plains: tuple[type, ...]
    dump: Turn
    load: Turn
    weak: tuple[type, ...] = ()


def _integer(value: Any, _: int) -> int:
    if type(value) is int and -(2**63) <= value < 2**64:
        return value
    raise Mismatch("a whole number of 64 bits", value)


def _dump_float(value: Any, _: int) -> float:
    if isinstance(value, float) or type(value) is int:  # a subclass such as numpy's becomes a plain one
        return float(value)
    raise Mismatch("a number", value)


def _load_float(plain: Any, _: int) -> float:
    if type(plain) is float:
        return plain
    if type(plain) is int and -(2**63) <= plain < 2**64:
        return float(plain)
    if type(plain) is str and plain in NOT_FINITE:
        return NOT_FINITE[plain]
    raise Mismatch("a number", plain)


def _exactly(kind: type, words: str) -> Shape:
    def turn(value: Any, _: int) -> Any:
        if type(value) is kind:
            return value
        raise Mismatch(words, value)

    return Shape((kind,), (kind,), turn, turn)


SCALARS: dict[object, Shape] = {
    int: Shape((int,), (int,), _integer, _integer),
    float: Shape((float,), (float,), _dump_float, _load_float, weak=(int, str)),
    str: _exactly(str, "a text"),
    bytes: _exactly(bytes, "bytes"),
    bool: _exactly(bool, "true or false"),
    NoneType: _exactly(NoneType, "nothing"),
}


def literal(allowed: tuple[object, ...]) -> Shape:
    """The plan of ``Literal``."""
    kinds = tuple({type(one) for one in allowed})
    pairs = {(type(one), one) for one in allowed}
    words = "one of " + ", ".join(map(repr, allowed))

    def turn(value: Any, _: int) -> Any:
        if type(value) in kinds and (type(value), value) in pairs:
            return value
        raise Mismatch(words, value)

    return Shape(kinds, kinds, turn, turn)


def sequence(inner: Shape) -> Shape:
    """The plan of ``tuple[X, ...]``."""
    return _items(lambda _: repeat(inner.dump), lambda _: repeat(inner.load))


def fixed(inner: tuple[Shape, ...]) -> Shape:
    """The plan of ``tuple[X, Y]``."""
    dumps, loads = [one.dump for one in inner], [one.load for one in inner]

    def counted(turns: list[Turn], values: Sequence[Any]) -> list[Turn]:
        if len(values) != len(turns):
            raise Mismatch(f"{len(turns)} items", values)
        return turns

    return _items(partial(counted, dumps), partial(counted, loads))


def _items(dumps: Callable[[Sequence[Any]], Iterable[Turn]], loads: Callable[[Sequence[Any]], Iterable[Turn]]) -> Shape:
    def dump(value: Any, depth: int) -> list[Any]:
        if type(value) is not tuple:
            raise Mismatch("a tuple", value)
        return _turn_items(dumps(value), value, depth)

    def load(plain: Any, depth: int) -> tuple[Any, ...]:
        if type(plain) is not list:
            raise Mismatch("a list", plain)
        return tuple(_turn_items(loads(plain), plain, depth))

    return Shape((tuple,), (list,), dump, load)


def _turn_items(turns: Iterable[Turn], values: Sequence[Any], depth: int) -> list[Any]:
    made: list[Any] = []
    try:
        made.extend(turn(value, depth) for turn, value in zip(turns, values, strict=False))
    except Mismatch as error:
        raise error.inside(f"[{len(made)}]") from None
    return made


def mapping(inner: Shape) -> Shape:
    """The plan of a mapping from texts."""

    def dump(value: Any, depth: int) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise Mismatch("a mapping", value)
        return _turn_values(inner.dump, value, depth)

    def load(plain: Any, depth: int) -> dict[str, Any]:
        if type(plain) is not dict:
            raise Mismatch("a map", plain)
        return _turn_values(inner.load, plain, depth)

    return Shape((dict,), (dict,), dump, load, weak=(Mapping,))


def _turn_values(turn: Turn, values: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, value in values.items():
        if type(key) is not str:
            raise Mismatch("texts as keys", key)
        try:
            made[key] = turn(value, depth)
        except Mismatch as error:
            raise error.inside(f"[{key[:40]!r}]") from None
    return made


def choice(shapes: list[Shape]) -> Shape:
    """The plan of a union; ``TypeError`` where two members cannot be told apart."""
    dumps = {kind: shape.dump for shape in shapes for kind in shape.values}
    loads = {kind: shape.load for shape in shapes for kind in shape.plains}
    if len(loads) != sum(len(shape.plains) for shape in shapes):
        raise TypeError("members of a union cannot be told apart")
    for shape in shapes:
        for kind in shape.weak:
            dumps.setdefault(kind, shape.dump)
            loads.setdefault(kind, shape.load)
    return Shape(tuple(dumps), tuple(loads), partial(_choose, dumps), partial(_choose, loads))


def _choose(turns: dict[type, Turn], value: Any, depth: int) -> Any:
    turn = turns.get(type(value))
    if turn is None:
        turn = next((one for kind, one in turns.items() if isinstance(value, kind)), None)
    if turn is None:
        raise Mismatch("one of " + ", ".join(kind.__name__ for kind in turns), value)
    return turn(value, depth)
