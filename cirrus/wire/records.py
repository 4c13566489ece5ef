"""Plans of dataclasses: a frozen dataclass becomes a map of its fields, with its name where there is a choice."""

from __future__ import annotations

import dataclasses
import importlib
import re
from collections.abc import Callable
from typing import Any, get_type_hints

from cirrus.errors import CirrusError
from cirrus.models import ModelSpec
from cirrus.wire.plain import Mismatch, Shape, Turn

DEEPEST = 64
"""Values inside values, at most."""

TAG = "type"
MODEL = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)


class Record:
    """The plan of one dataclass, completed after it is known by name, since types may contain themselves."""

    def __init__(self, kind: type) -> None:
        self.kind = kind
        self.shape = Shape((kind,), (dict,), self.dump, self.load)
        self._dumps: tuple[tuple[str, Turn], ...] = ()
        self._loads: tuple[tuple[str, Turn], ...] = ()

    def complete(self, shape_of: Callable[[object], Shape]) -> None:
        """Plan the fields."""
        hints = get_type_hints(self.kind)
        shapes: list[tuple[str, Shape]] = []
        for field in dataclasses.fields(self.kind):
            if not field.init or field.name == TAG:
                raise TypeError(f"{self.kind.__name__}.{field.name} cannot be sent: its name or init=False")
            shapes.append((field.name, shape_of(hints[field.name])))
        self._dumps = tuple((name, shape.dump) for name, shape in shapes)
        self._loads = tuple((name, shape.load) for name, shape in shapes)

    def dump(self, value: Any, depth: int) -> dict[str, Any]:
        """A map of the fields."""
        if type(value) is not self.kind:
            raise Mismatch(self.kind.__name__, value)
        if depth > DEEPEST:
            raise Mismatch(f"at most {DEEPEST} values inside each other", value)
        plain = {}
        name = ""
        try:
            for name, dump in self._dumps:
                plain[name] = dump(getattr(value, name), depth + 1)
        except Mismatch as error:
            raise error.inside(name) from None
        return plain

    def load(self, plain: Any, depth: int) -> Any:
        """The value of an untagged map."""
        if type(plain) is not dict:
            raise Mismatch(f"a map of the fields of {self.kind.__name__}", plain)
        return self.read(plain, depth, 0)

    def read(self, plain: dict[str, Any], depth: int, tags: int) -> Any:
        """The value of a map that holds so many tags besides the fields."""
        if depth > DEEPEST:
            raise Mismatch(f"at most {DEEPEST} values inside each other", plain)
        if len(plain) != len(self._loads) + tags or not all(name in plain for name, _ in self._loads):
            raise self._misfit(plain, tags)
        values = {}
        name = ""
        try:
            for name, load in self._loads:
                values[name] = load(plain[name], depth + 1)
        except Mismatch as error:
            raise error.inside(name) from None
        try:
            return self.kind(**values)
        except (CirrusError, TypeError, ValueError, ArithmeticError, LookupError) as error:
            raise Mismatch(f"a valid {self.kind.__name__} ({error})", plain) from error

    def _misfit(self, plain: dict[str, Any], tags: int) -> Mismatch:
        names = [name for name, _ in self._loads]
        missing = [name for name in names if name not in plain]
        extra = [str(name)[:40] for name in plain if name not in names and not (tags and name == TAG)]
        return Mismatch(f"the fields of {self.kind.__name__} (missing: {missing}, too many: {extra[:8]})", plain)


class Tagged:
    """The plan of a closed set of dataclasses, told apart by their names."""

    def __init__(self, records: tuple[Record, ...]) -> None:
        self.shape = Shape(tuple(record.kind for record in records), (dict,), self.dump, self.load)
        self._by_tag = {record.kind.__name__: record for record in records}
        self._by_type = {record.kind: (record.kind.__name__, record) for record in records}
        if len(self._by_tag) != len(records):
            raise TypeError("two classes of one name cannot be told apart")

    def dump(self, value: Any, depth: int) -> dict[str, Any]:
        """A map of the tag and the fields."""
        found = self._by_type.get(type(value)) or self.find_type(type(value))
        return {TAG: found[0], **found[1].dump(value, depth)}

    def load(self, plain: Any, depth: int) -> Any:
        """The value of a tagged map."""
        if type(plain) is not dict:
            raise Mismatch(f"a map with a {TAG!r}", plain)
        tag = plain.get(TAG)
        if type(tag) is not str:
            raise Mismatch(f"a map with a {TAG!r}", plain)
        record = self._by_tag.get(tag) or self.find_tag(tag)
        return record.read(plain, depth, 1)

    def find_type(self, kind: type) -> tuple[str, Record]:
        """The tag and plan of a class that is not known yet."""
        raise Mismatch(self._words(), kind.__name__)

    def find_tag(self, tag: str) -> Record:
        """The plan of a tag that is not known yet."""
        raise Mismatch(self._words(), tag).inside(TAG)

    def _words(self) -> str:
        return "one of " + ", ".join(self._by_tag)


class Models(Tagged):
    """The plan of ``ModelSpec``: any importable frozen dataclass that is derived from it; or one of ``others``."""

    def __init__(self, record_of: Callable[[type], Record], others: tuple[Record, ...]) -> None:
        super().__init__(others)
        self.shape = Shape((ModelSpec, *self.shape.values), (dict,), self.dump, self.load)
        self._record_of = record_of

    def find_type(self, kind: type) -> tuple[str, Record]:
        """Learn a class that is sent for the first time."""
        found = tag_of_model(kind), self._record_of(kind)
        self._by_type[kind] = found
        return found

    def find_tag(self, tag: str) -> Record:
        """Import a class that is received for the first time."""
        kind = resolve_model(tag)
        try:
            record = self._record_of(kind)
        except (TypeError, NameError) as error:
            raise Mismatch("a model whose fields can be sent", tag).inside(TAG) from error
        self._by_tag[tag] = record
        return record


def tag_of_model(kind: type) -> str:
    """``module:name`` of a model's class; ``Mismatch`` where it cannot be found again by that."""
    tag = f"{kind.__module__}:{kind.__qualname__}"
    if resolve_model(tag) is not kind:
        raise Mismatch("a model that can be imported by its name", kind).inside(TAG)
    return tag


def resolve_model(tag: str) -> type:
    """Import the class that a model's tag names."""
    if len(tag) > 200 or not MODEL.fullmatch(tag):
        raise Mismatch("module:name of a model", tag).inside(TAG)
    module, _, name = tag.partition(":")
    try:
        kind = getattr(importlib.import_module(module), name)
    except Exception as error:  # the border to a user's module, which may raise anything
        why = f"{type(error).__name__}: {str(error)[:200]}"
        raise Mismatch(f"a model that can be imported ({why})", tag).inside(TAG) from error
    if not isinstance(kind, type) or not issubclass(kind, ModelSpec) or "__dataclass_params__" not in vars(kind):
        raise Mismatch("a frozen dataclass derived from ModelSpec", kind).inside(TAG)
    return kind
