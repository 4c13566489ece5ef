"""Secrets that would be recognised anywhere, and where to look for them."""

from __future__ import annotations

import base64
import contextlib
import subprocess
import threading
from collections import Counter
from typing import Self
from urllib.parse import quote

import psutil

from cirrus.testing.seaweed import Seaweed

SECRET = Seaweed("").secret_key
"""The secret key of the servers of tests, which is nowhere else."""

RUN_KEY = b"\x01canary-key-of-a-run\xff\xfe-32-bytes\x00"
assert len(RUN_KEY) == 32
URLSAFE = bytes.maketrans(b"+/", b"-_")
PAUSE, LOOKS = 0.05, 20


def forms(secret: bytes) -> list[bytes]:
    """The secret as it might be written down."""
    escaped = secret.decode("latin-1").encode("unicode_escape")
    coded = base64.b64encode(secret).rstrip(b"=")
    return [
        secret, escaped, repr(secret)[2:-1].encode(), secret.hex().encode(), coded, coded.translate(URLSAFE),
        quote(secret, safe="").encode(),
    ]  # fmt: skip


def sings(*heard: bytes | str) -> list[bytes]:
    """The forms of the secrets that are in any of these."""
    data = [one.encode() if isinstance(one, str) else one for one in heard]
    wanted = [form for secret in (SECRET.encode(), RUN_KEY) for form in forms(secret)]
    return [form for form in wanted if any(form in one for one in data)]


class Watched:
    """A process with all that it starts: their command lines and variables, each looked at some times."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.lines: set[str] = set()
        self.variables: set[str] = set()
        self._root = psutil.Process(process.pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        looks = Counter[int]()
        while not self._over.wait(PAUSE):
            with contextlib.suppress(psutil.Error):
                for one in (self._root, *self._root.children(recursive=True)):
                    if looks[one.pid] < LOOKS:
                        looks[one.pid] += 1
                        self.lines.add(" ".join(one.cmdline()))
                        self.variables |= {f"{name}={value}" for name, value in one.environ().items()}
