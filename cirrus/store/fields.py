"""JSON that is read strictly: each field has a type, none is missing, none is unknown; else ``Corrupt`` names it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from cirrus.errors import Corrupt

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"


def to_json(value: JSON) -> bytes:
    """Compact ASCII text; ``ValueError`` for NaN and infinity, which JSON cannot express."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()


class Fields:
    """The fields of one JSON object. ``name`` is the stored object that it comes from, ``place`` where in it."""

    def __init__(self, name: str, place: str, value: object) -> None:
        if not isinstance(value, dict):
            raise Corrupt(name, f"{place or 'it'} is not a JSON object")
        self._name = name
        self._place = place
        self._values: dict[str, object] = value

    @classmethod
    def parsed(cls, name: str, data: bytes | memoryview) -> Fields:
        """Read the text of a JSON object."""
        try:
            return cls(name, "", json.loads(str(data, "utf-8"), parse_constant=_refused, object_pairs_hook=_once))
        except (ValueError, RecursionError) as error:
            raise Corrupt(name, f"it is not JSON: {error}") from error

    def only(self, *fields: str) -> None:
        """There must be exactly those fields."""
        for field in self._values.keys() ^ set(fields):
            raise self.wrong(field, "is unknown" if field in self._values else "is missing")

    def text(self, field: str) -> str:
        return self._text(field, self._value(field))

    def whole(self, field: str) -> int:
        """A whole number from 0 up to what 64 bits hold."""
        return self._whole(field, self._value(field))

    def texts(self, field: str) -> tuple[str, ...]:
        return tuple(self._text(f"{field}[{at}]", one) for at, one in enumerate(self._items(field)))

    def wholes(self, field: str) -> tuple[int, ...]:
        return tuple(self._whole(f"{field}[{at}]", one) for at, one in enumerate(self._items(field)))

    def section(self, field: str) -> Fields:
        return Fields(self._name, self._at(field), self._value(field))

    def sections(self, field: str) -> tuple[Fields, ...]:
        items = enumerate(self._items(field))
        return tuple(Fields(self._name, self._at(f"{field}[{at}]"), one) for at, one in items)

    def mapping(self, field: str) -> Mapping[str, JSON]:
        """A JSON object as it is, for somebody else to check."""
        value = self._value(field)
        if not isinstance(value, dict):
            raise self.wrong(field, "is not a JSON object")
        return value

    def wrong(self, field: str, problem: str) -> Corrupt:
        """The error that names a field."""
        return Corrupt(self._name, f"{self._at(field)} {problem}")

    def _at(self, field: str) -> str:
        return f"{self._place}.{field}" if self._place else field

    def _value(self, field: str) -> object:
        if field not in self._values:
            raise self.wrong(field, "is missing")
        return self._values[field]

    def _items(self, field: str) -> list[object]:
        value = self._value(field)
        if not isinstance(value, list):
            raise self.wrong(field, "is not a list")
        return value

    def _text(self, field: str, value: object) -> str:
        if not isinstance(value, str):
            raise self.wrong(field, "is not a text")
        return value

    def _whole(self, field: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
            raise self.wrong(field, "is not a whole number from 0 to 2**63 - 1")
        return value


def _refused(constant: str) -> None:
    raise ValueError(f"{constant} is not a number of JSON")


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return values
