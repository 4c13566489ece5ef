"""What a key may look like: the rules that every store shares."""

from __future__ import annotations

from cirrus.errors import StoreError

LONGEST = 1024
"""Bytes that a key may take as UTF-8; S3 accepts no more."""


def checked(key: str) -> str:
    """``key`` itself if it may name an object, else ``StoreError`` that says why not."""
    problem = _problem(key)
    if problem:
        raise StoreError(repr(key), problem)
    return key


def checked_prefix(prefix: str) -> str:
    """``prefix`` itself if a key can begin with it (an empty one always can), else ``StoreError``."""
    folder, slash, _ = prefix.rpartition("/")
    problem = _problem(folder) if slash else _unfit(prefix)
    if problem:
        raise StoreError(repr(prefix), problem)
    return prefix


def checked_range(key: str, start: int, stop: int | None) -> None:
    """``StoreError`` where a range begins or ends before the first byte."""
    if start < 0 or (stop is not None and stop < 0):
        raise StoreError(key, f"bytes {start} to {stop}: a range is counted from 0 upwards")


def _problem(key: str) -> str:
    if not key:
        return "a key must not be empty"
    if any(part in {"", ".", ".."} for part in key.split("/")):
        return "a key is relative, without empty, '.' or '..' parts"
    return _unfit(key)


def _unfit(text: str) -> str:
    if "\0" in text:
        return "a key must not hold a NUL"
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        return "a key must be text that UTF-8 can express"
    return "" if size <= LONGEST else f"a key must not take more than {LONGEST} bytes"
