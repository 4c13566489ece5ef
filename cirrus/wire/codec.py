"""The codec of control messages and specifications: frozen values to msgpack bytes or JSON text, and back.

    Message = Hello | Beat | Bye
    MESSAGES: Codec[Message] = Codec(Message)
    data = MESSAGES.encode(Beat(memory=120))
    match MESSAGES.decode(data): ...

Whatever comes in is limited in size before it is parsed and has exactly the declared types, or is a ``WireError``.
"""

from __future__ import annotations

import json
import math
from typing import Any, Generic, TypeVar, cast

import msgpack

from cirrus.errors import WireError
from cirrus.wire.plain import Mismatch
from cirrus.wire.shapes import Shapes

T = TypeVar("T")

LARGEST = 65_536
MOST_ITEMS = 1_024
"""Of one list or map in msgpack, whose parser makes room for all of them before it has read the first."""


class Codec(Generic[T]):
    """Encodes the values of one type: a frozen dataclass, a union of them, ``Source``, ``Condition`` or ``ModelSpec``.

    Fields may be ``int`` (64 bits), ``float``, ``str``, ``bytes``, ``bool``, ``None``, ``Literal``, tuples, ``dict`` or
    ``Mapping`` with text keys, such dataclasses again, and unions of these; ``TypeError`` at once for others.
    """

    def __init__(self, kind: object, most: int = LARGEST) -> None:
        """Plan for ``kind``; no message is longer than ``most`` bytes (characters of JSON), written or read."""
        self._shape = Shapes().of(kind)
        self._most = most

    def encode(self, value: T) -> bytes:
        """The value as msgpack; ``WireError`` where it is not of its type, or too long."""
        try:
            data = cast("bytes", msgpack.packb(self.to_plain(value)))
        except ValueError as error:  # a text that has no UTF-8 form
            raise WireError(f"the message has no msgpack form: {error}") from error
        self._check_size(len(data))
        return data

    def decode(self, data: bytes | bytearray | memoryview) -> T:
        """The value of msgpack bytes; ``WireError``."""
        self._check_size(len(data))
        items = min(MOST_ITEMS, len(data))
        try:
            plain = msgpack.unpackb(
                data, object_pairs_hook=_unique, strict_map_key=True, max_str_len=len(data), max_bin_len=len(data),
                max_array_len=items, max_map_len=items, max_ext_len=0,
            )
        except (ValueError, msgpack.UnpackException) as error:
            raise WireError(f"not msgpack: {type(error).__name__}") from error
        return self.from_plain(plain)

    def to_json(self, value: T) -> str:
        """The value as JSON; ``WireError`` where it is not of its type, holds bytes, or is too long."""
        plain = _finite(self.to_plain(value))
        try:
            text = json.dumps(plain, allow_nan=False, separators=(",", ":"))
        except TypeError as error:
            raise WireError(f"the value has no JSON form: {error}") from error
        self._check_size(len(text))
        return text

    def from_json(self, text: str) -> T:
        """The value of JSON text; ``WireError``."""
        self._check_size(len(text))
        try:
            plain = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise WireError(f"not JSON: {type(error).__name__}") from error
        return self.from_plain(plain)

    def to_plain(self, value: T) -> Any:
        """The value as maps, lists, numbers, texts, bytes and None; ``WireError``."""
        try:
            return self._shape.dump(value, 1)
        except Mismatch as error:
            raise WireError(str(error)) from error

    def from_plain(self, plain: object) -> T:
        """The value of maps, lists, numbers, texts, bytes and None; ``WireError``."""
        try:
            return cast("T", self._shape.load(plain, 1))
        except Mismatch as error:
            raise WireError(str(error)) from error

    def _check_size(self, size: int) -> None:
        if size > self._most:
            raise WireError(f"a message of {size} bytes; at most {self._most} are allowed")


def _unique(pairs: list[tuple[object, object]]) -> dict[object, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a key twice")
    return made


def _refuse(name: str) -> object:
    raise ValueError(name)


def _finite(plain: Any) -> Any:
    """The same with numbers that JSON does not know as texts."""
    match plain:
        case dict():
            return {key: _finite(value) for key, value in plain.items()}
        case list():
            return [_finite(value) for value in plain]
        case float() if not math.isfinite(plain):
            return repr(plain)
        case _:
            return plain
