"""What a host has before a run and after it, so that what stays behind shows."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from dataclasses import dataclass

import psutil

DESCRIPTORS = "/proc/self/fd"


@dataclass(frozen=True, slots=True)
class Household:
    """Everything that a guest might leave in the process, or change about it: each a line of text."""

    things: frozenset[str]

    @staticmethod
    def now() -> Household:
        """The process as it is; inside a loop, its other tasks as well."""
        return Household(frozenset({*_processes(), *_threads(), *_tasks(), *_descriptors(), *_settings()}))

    @staticmethod
    async def warm() -> Household:
        """The same, after the loop has had its first stream: uvloop then opens a descriptor in reserve, for good."""
        mine, other = socket.socketpair()
        with other:
            _, writer = await asyncio.open_connection(sock=mine)
            writer.close()
            await writer.wait_closed()
        return Household.now()

    def changes(self) -> list[str]:
        """What has come and gone since; nothing where everything is as it was."""
        now = Household.now().things
        return [f"+ {one}" for one in sorted(now - self.things)] + [f"- {one}" for one in sorted(self.things - now)]


def _processes() -> list[str]:
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append(f"process {child.pid} {child.status()} {child.cmdline()[:5]}")
    return found


def _threads() -> list[str]:
    return [f"thread {one.ident} {one.name}" for one in threading.enumerate()]


def _tasks() -> list[str]:
    try:
        mine = asyncio.current_task()
        return [f"task {one.get_name()} {one.get_coro()}" for one in asyncio.all_tasks() if one is not mine]
    except RuntimeError:
        return []


def _descriptors() -> list[str]:
    found = []
    for name in os.listdir(DESCRIPTORS):  # noqa: PTH208  path objects add nothing here
        with contextlib.suppress(FileNotFoundError):  # the one through which the list itself was read
            found.append(f"descriptor {name} {os.readlink(f'{DESCRIPTORS}/{name}')}")  # noqa: PTH115  the same
    return found


def _settings() -> list[str]:
    root = logging.getLogger()
    return [
        *[f"signal {one} {id(signal.getsignal(one))}" for one in sorted(signal.valid_signals())],
        f"logging {root.level} {root.handlers!r}",
        f"policy {asyncio.get_event_loop_policy()!r}",
        f"hooks {sys.excepthook!r} {threading.excepthook!r} {sys.unraisablehook!r}",
    ]
