"""``cirrus shard serve``: a host that stays, and serves shards for runs whose drivers know its secret."""

from __future__ import annotations

import asyncio
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cirrus import checks
from cirrus.actors.kernel import Kernel
from cirrus.actors.listening import Address, Listener
from cirrus.actors.seats import Machine
from cirrus.actors.shard_service import ShardService, ports_of
from cirrus.cli.output import print_json, print_table
from cirrus.clock import Clock, SystemClock
from cirrus.cloud.hosts import new_authority
from cirrus.cloud.processes import Processes
from cirrus.cloud.served import SHORTEST
from cirrus.driver import SHARD
from cirrus.errors import OutsideError, PipelineError
from cirrus.store.aside import aside
from cirrus.wire.tls import Identity, server_side

DAYS = 3650.0
CONNECTIONS = 256
GRACE = 5.0
ANYWHERE = ("", "0.0.0.0", "::")  # noqa: S104  what no certificate can name


@dataclass(frozen=True, slots=True)
class _Papers:
    """What a host shows and knows, and the files that drivers need; ``ca_file`` is ``None`` where the user has it."""

    identity: Identity
    secret: bytes
    secret_file: Path
    ca_file: Path | None


async def serve(arguments: Namespace) -> None:
    """Serve until SIGTERM, or until nobody has spoken for long, and then run the command for the end."""
    _check(arguments)
    clock = SystemClock()
    papers = await aside(lambda: _papers(arguments, clock.wall()))
    tls = await aside(lambda: server_side(papers.identity))
    address = Address(arguments.host, arguments.port, tls)
    if await _serve(arguments, address, papers, clock) == "idle" and arguments.at_end:
        words = shlex.split(arguments.at_end)
        await aside(lambda: subprocess.run(words, check=False, stdout=sys.stderr))  # noqa: S603  the user's own


async def _serve(arguments: Namespace, address: Address, papers: _Papers, clock: Clock) -> str:
    """Serve, and return why that is over: ``idle`` or ``told``."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[str] = loop.create_future()

    def end(why: str) -> None:
        if not over.done():
            over.set_result(why)

    async def wait() -> None:
        await service.idle(arguments.idle, arguments.patience)
        end("idle")

    processes = Processes()
    try:
        async with Kernel(clock) as kernel:
            machine = Machine(clock, processes, SHARD, address.host)
            service = ShardService(kernel, machine, papers.secret, ports_of(address.port, arguments.shards))
            listener = Listener(service.app, address, CONNECTIONS)
            port = await listener.start()
            loop.add_signal_handler(signal.SIGTERM, end, "told")
            kernel.task(wait(), name="idle")
            try:
                _say(arguments, port, papers)
                return await over
            finally:
                await service.close()
                await listener.stop()
    finally:
        await processes.close(GRACE)


def _check(arguments: Namespace) -> None:
    checks.integer("--port", arguments.port, 0, 65534)
    checks.integer("--shards", arguments.shards, 1, 1024)
    checks.positive("--idle", arguments.idle)
    checks.positive("--patience", arguments.patience)
    if bool(arguments.certificate) != bool(arguments.key):
        raise PipelineError("--certificate", arguments.certificate, "together with --key")


def _say(arguments: Namespace, port: int, papers: _Papers) -> None:
    name = socket.gethostname() if arguments.host in ANYWHERE else arguments.host
    url, secret = f"wss://{name}:{port}", str(papers.secret_file)
    ca = "" if papers.ca_file is None else str(papers.ca_file)
    if arguments.json:
        print_json({"url": url, "secret": secret, "ca": ca, "pid": os.getpid()})
    else:
        print_table([("serving at", url), ("secret in", secret), ("authority in", ca or "your own file")])
    sys.stdout.flush()


def _papers(arguments: Namespace, now: float) -> _Papers:
    """The host's papers, made where they are missing. It reads and writes files."""
    folder = Path(arguments.folder) if arguments.folder else Path.home() / ".cirrus" / "shard"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    known = folder / "secret"
    if not known.exists():
        _write(known, secrets.token_urlsafe(32))
    secret = _read(known).strip()
    if len(secret) < SHORTEST:
        raise PipelineError("secret", f"a short one in {known}", f"{SHORTEST} characters or more")
    if arguments.certificate:
        own = Identity(_read(Path(arguments.certificate)), _read(Path(arguments.key)))
        return _Papers(own, secret.encode(), known, None)
    ca, certificate, key = folder / "ca.pem", folder / "certificate.pem", folder / "key.pem"
    if not key.exists():
        authority = new_authority(f"cirrus shards of {socket.gethostname()}", now, DAYS)
        made = authority.identity(_names(arguments.names, arguments.host))
        for file, text in ((ca, authority.ca), (certificate, made.certificate), (key, made.key)):
            file.unlink(missing_ok=True)
            _write(file, text)
    identity = Identity(_read(certificate), _read(key))
    return _Papers(identity, secret.encode(), known, ca if ca.exists() else None)


def _names(given: Sequence[str], host: str) -> list[str]:
    here = [] if host in ANYWHERE else [host]
    return list(dict.fromkeys(given or [*here, "localhost", "127.0.0.1", socket.gethostname()]))


def _write(file: Path, text: str) -> None:
    with os.fdopen(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w", encoding="ascii") as made:
        made.write(text)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except (OSError, UnicodeError) as error:
        raise OutsideError(f"{file} cannot be read: {error}") from error
