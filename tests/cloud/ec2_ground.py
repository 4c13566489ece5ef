"""What EC2 does with hosts beyond keeping a list of them, which is all that moto does: they boot, run, and shut down.

Each host is a group of processes of this machine that runs the very script that was given as user data, by bash. Only
what a machine of its own would have is stood in for: its package manager, users and ``shutdown``, and a Python whose
``pip`` installs nothing, since the cirrus under test is what is served. ``/opt/cirrus`` is a folder of the host's own,
and it listens at free ports of the loopback interface, in place of addresses that moto has made up.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiobotocore.session import get_session

from cirrus.cloud.ec2 import Ec2Shards
from cirrus.cloud.ec2_client import Instance

IMAGE = "ami-12c6146b"
REGION = "us-east-1"
KEYS = {"AWS_ACCESS_KEY_ID": "an-access-key", "AWS_SECRET_ACCESS_KEY": "a-secret-key"}
PYTHON = """#!/bin/bash
mkdir -p "$3/bin"
printf '#!/bin/bash\\n' >"$3/bin/pip"
cat >"$3/bin/cirrus" <<END
#!/bin/bash
exec {python} -m cirrus "\\$@" --host 127.0.0.1 --port 0 --patience 2 --json >{folder}/said.json
END
chmod +x "$3/bin/pip" "$3/bin/cirrus"
"""
COMMANDS = {
    "dnf": "#!/bin/bash\n",
    "useradd": "#!/bin/bash\n",
    "chown": "#!/bin/bash\n",
    "runuser": '#!/bin/bash\nshift 3\nexec "$@"\n',
    "shutdown": "#!/bin/bash\ntouch {folder}/shutdown\n",
    "python3.11": PYTHON,
}


class Machines:
    """Boots what moto lists as running, and ends what it lists as terminated; ``folder`` has one for each host."""

    def __init__(self, folder: Path, client: object, environment: dict[str, str]) -> None:
        self.scripts: dict[str, str] = {}
        self._folder = folder
        self._client: object = client
        self._environment = environment
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._over = False

    async def listed(self) -> list[dict[str, object]]:
        """All hosts that there ever were."""
        answer = await self._client.describe_instances()  # type: ignore[attr-defined]
        return [one for group in answer["Reservations"] for one in group["Instances"]]

    async def alive(self) -> list[str]:
        """The hosts that are billed."""
        return [str(one["InstanceId"]) for one in await self.listed() if state(one) in ("pending", "running")]

    async def watch(self) -> None:
        """Do as EC2 would, until ``close``; then all hosts lose their power."""
        while not self._over:
            for one in await self.listed():
                host, process = str(one["InstanceId"]), self._running.get(str(one["InstanceId"]))
                if process is None and state(one) == "running":
                    self._running[host] = await self._boot(host)
                elif process is not None and state(one) in ("shutting-down", "terminated"):
                    self._end(process)
                elif process is not None and (self._folder / host / "shutdown").exists():
                    await self._client.terminate_instances(InstanceIds=[host])  # type: ignore[attr-defined]
            await asyncio.sleep(0.1)
        for process in self._running.values():
            self._end(process)
            await process.wait()

    def close(self) -> None:
        self._over = True

    def _end(self, process: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)

    async def _boot(self, host: str) -> asyncio.subprocess.Process:
        folder = self._folder / host
        (folder / "bin").mkdir(parents=True)
        for name, text in COMMANDS.items():
            words = text.format(folder=folder, python=sys.executable) if name in ("shutdown", "python3.11") else text
            (folder / "bin" / name).write_text(words)
            (folder / "bin" / name).chmod(0o700)
        answer = await self._client.describe_instance_attribute(  # type: ignore[attr-defined]
            InstanceId=host, Attribute="userData"
        )
        text = self.scripts[host] = base64.b64decode(answer["UserData"]["Value"]).decode()
        (folder / "user-data").write_text(text.replace("/opt/cirrus", str(folder / "opt")))
        (folder / "opt").mkdir()
        with (folder / "log").open("wb") as log:
            return await asyncio.create_subprocess_exec(
                "bash", str(folder / "user-data"), start_new_session=True, stdin=asyncio.subprocess.DEVNULL,
                stdout=log, stderr=log,
                env={**os.environ, **self._environment, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"},
            )  # fmt: skip


def state(described: dict[str, object]) -> str:
    """A host's state, as EC2 describes it."""
    found = described["State"]
    assert isinstance(found, dict)
    return str(found["Name"])


def address_in(folder: Path, instance: Instance, _wish: Ec2Shards) -> tuple[str, int]:
    """Where the host really listens, once it does."""
    try:
        said = json.loads((folder / instance.id / "said.json").read_text())
    except (OSError, ValueError):
        return "", 0
    return "127.0.0.1", int(str(said["url"]).rpartition(":")[2])


@asynccontextmanager
async def machines(folder: Path, endpoint: str, environment: dict[str, str]) -> AsyncIterator[Machines]:
    """EC2 at ``endpoint``, whose hosts boot while the block runs, with that environment."""
    async with get_session().create_client(
        "ec2", region_name=REGION, endpoint_url=endpoint,
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"], aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
    ) as client:  # fmt: skip
        made = Machines(folder, client, environment)
        async with asyncio.TaskGroup() as group:
            group.create_task(made.watch())
            try:
                yield made
            finally:
                made.close()
