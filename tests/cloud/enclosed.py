"""An emulator in a network of its own: ``python -m tests.cloud.enclosed``, its options as a line of JSON on stdin.

Nobody comes in but to Lambda's API; its workers get out to the ports that are named, a line each, on stdin.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from urllib.parse import urlsplit

from cirrus.emulator.emulator import Options, emulator
from tests.cloud.gates import lead_out, listen_at


async def main() -> None:
    """Serve until the input ends."""
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    told = json.loads(await reader.readline())
    folder = Path(told["folder"])
    async with emulator(Options(role=told["role"])) as found:
        gates = [await lead_out(folder / "in", urlsplit(found.endpoint).port or 0)]
        print("ready", flush=True)
        while line := await reader.readline():
            gates.append(await listen_at(int(line), folder / "out"))
        for gate in gates:
            await gate.close()


if __name__ == "__main__":
    asyncio.run(main())
