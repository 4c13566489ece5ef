"""A worker's process with nothing but a bundle to import from; it is run by its path, without site packages.

It hands its assignment to the handler as an event, and writes a line to a file: why the worker left, and what was
loaded from elsewhere than the bundle and the standard library.
"""

import json
import sys
import time
from pathlib import Path

FOLDER, TOLD = Path(sys.argv[1]).resolve(), Path(sys.argv[2])


class Context:
    memory_limit_in_mb: int | str = "600"

    def __init__(self) -> None:
        self._until = time.monotonic() + 100.0

    def get_remaining_time_in_millis(self) -> int:
        return int(1000 * (self._until - time.monotonic()))


def main() -> None:
    allowed = [FOLDER, *(Path(one).resolve() for one in sys.path)]
    sys.path.insert(0, str(FOLDER))
    from cirrus.native.choice import kernels
    from lambda_handler.handler import handler

    report = handler(json.loads(sys.stdin.readline()), Context())
    files = {name: getattr(module, "__file__", None) for name, module in sys.modules.items() if name != "__main__"}
    strange = [name for name, file in files.items() if file and not any(map(Path(file).is_relative_to, allowed))]
    told = {**report, "strange": strange, "loaded": sorted(sys.modules), "kernels": kernels() is not None}
    with TOLD.open("a", encoding="utf-8") as out:
        out.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    main()
