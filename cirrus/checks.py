"""Checks of a specification's fields: each either passes or raises a ``PipelineError`` that names the field."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cirrus.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Collection

MOST = sys.float_info.max
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
POOLS = re.compile(r".*\.(eval|trial[0-9]+)")
"""Names of a stage's pools of workers."""


def integer(field: str, value: object, low: int, high: int) -> None:
    """``value`` must be a whole number from ``low`` to ``high``."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise PipelineError(field, value, f"a whole number from {low} to {high}")


def positive(field: str, value: object) -> None:
    """``value`` must be a finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= MOST:
        raise PipelineError(field, value, "a finite number above 0")


def within(field: str, value: object, low: float, high: float) -> None:
    """``value`` must be a finite number from ``low`` to ``high``."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high or math.isinf(value):
        raise PipelineError(field, value, f"a finite number from {low:g} to {high:g}")


def name(field: str, value: object) -> None:
    """``value`` must be a name: lower-case letters, digits, dot, dash and underscore, at most 64 of them."""
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise PipelineError(field, value, f"a name that matches {NAME.pattern}")


def stage(field: str, value: object) -> None:
    """``value`` must be a name that does not look like one of a stage's pools of workers."""
    name(field, value)
    if POOLS.fullmatch(str(value)):
        raise PipelineError(field, value, "a name that ends neither in .eval nor in .trial and a number")


def text(field: str, value: object) -> None:
    """``value`` must be a text that is not empty."""
    if not isinstance(value, str) or not value:
        raise PipelineError(field, value, "a text that is not empty")


def one_of(field: str, value: object, allowed: Collection[object]) -> None:
    """``value`` must be one of those."""
    if value not in allowed:
        raise PipelineError(field, value, ", ".join(repr(one) for one in allowed))


def instance(field: str, value: object, kind: type, allowed: str) -> None:
    """``value`` must be an instance of ``kind``, which ``allowed`` names for people."""
    if not isinstance(value, kind):
        raise PipelineError(field, value, allowed)


def texts(field: str, value: object) -> None:
    """``value`` must be a tuple of texts that are not empty, none twice."""
    if not isinstance(value, tuple) or not all(isinstance(one, str) and one for one in value):
        raise PipelineError(field, value, "a tuple of texts that are not empty")
    if len(set(value)) != len(value):
        raise PipelineError(field, value, "each name once")


def mapping(field: str, value: object, allowed: Collection[str]) -> None:
    """``value`` must map texts to some of ``allowed``."""
    if not isinstance(value, Mapping):
        raise PipelineError(field, value, f"a mapping of names to {', '.join(map(repr, allowed))}")
    for key, one in value.items():
        text(f"{field} (a name)", key)
        one_of(f"{field}[{key!r}]", one, allowed)


def installed(module: str, extra: str) -> None:
    """The module must be installed; it comes with that extra of the package."""
    if find_spec(module) is None:
        raise PipelineError(module, "not installed", f"pip install 'cirrus-serverless[{extra}]'")


def is_loopback(host: str) -> bool:
    """Whether ``host``, a name or an address, is surely this machine and nobody else's."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
