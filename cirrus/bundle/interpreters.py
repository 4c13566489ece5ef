"""Other versions of Python on this machine: what only they can compile and try."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from cirrus.errors import OutsideError

TASK = "/var/task"
"""Where a function's code is on Lambda."""

FORBIDDEN = ("scipy", "botocore", "boto3", "aiobotocore")
TRY = """
import importlib, json, sys
sys.path.insert(0, sys.argv[1])
for module in json.loads(sys.argv[2]):
    importlib.import_module(module)
print(json.dumps(sorted({one.partition(".")[0] for one in sys.modules})))
"""


def interpreter(python: str) -> str | None:
    """A program that is that version of Python (``3.12``); ``None`` where there is none on the path."""
    if python == f"{sys.version_info.major}.{sys.version_info.minor}":
        return sys.executable
    found = shutil.which(f"python{python}")
    if found is None:
        return None
    asked = [found, "-I", "-S", "-c", "import sys; print('%d.%d' % sys.version_info[:2], sys.executable)"]
    environment = {**os.environ, "PYENV_VERSION": python}  # what pyenv puts on the path wants to be told which
    done = subprocess.run(asked, env=environment, capture_output=True, text=True, check=False)  # noqa: S603  as named
    version, _, program = done.stdout.strip().partition(" ")
    return program if done.returncode == 0 and version == python else None


def compile_all(program: str, folder: Path) -> None:
    """Write bytecode beside all sources below the folder; nobody will look whether these have changed.

    Sources that do not compile are left as they are: some packages bring some for other versions.
    """
    command = [
        program, "-P", "-S", "-m", "compileall", "-q", "-q", "-f", "-s", str(folder), "-p", TASK,
        "--invalidation-mode", "unchecked-hash", str(folder),
    ]  # fmt: skip
    environment = {"PATH": os.defpath, "PYTHONHASHSEED": "0"}  # sets among the constants keep their order
    subprocess.run(command, env=environment, capture_output=True, check=False)  # noqa: S603  as above


def try_imports(program: str, folder: Path, modules: tuple[str, ...], forbidden: tuple[str, ...] = FORBIDDEN) -> None:
    """Import the modules from the folder and nowhere else; ``OutsideError`` where that fails, or loads too much."""
    command = [program, "-I", "-S", "-B", "-c", TRY, str(folder), json.dumps(modules)]
    environment = {"PATH": os.defpath}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603  as above
    if done.returncode:
        raise OutsideError(f"the bundle cannot be imported:\n{done.stderr[-2000:].strip()}")
    loaded = set(json.loads(done.stdout.splitlines()[-1])) & set(forbidden)
    if loaded:
        raise OutsideError(f"the bundle imports {', '.join(sorted(loaded))}, which workers do without")
