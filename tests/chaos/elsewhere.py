"""The command ``cirrus`` on what is as good as another machine: ``python -m tests.chaos.elsewhere VERB ...``.

Where the system lets it, this process has a host name of its own, so that it cannot see whether a driver elsewhere is
alive. It has no patience with one that is silent, for tests have no minute to wait.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys

from cirrus.cli.main import main
from cirrus.store import holding

NAME = "elsewhere"
OWN_NAME = ("unshare", "--uts") if shutil.which("unshare") and os.geteuid() == 0 else ()
"""What lets a command have a host name of its own."""

if __name__ == "__main__":
    if OWN_NAME:
        socket.sethostname(NAME)
    holding.PATIENCE = 0.0
    holding.LOOK = 1.0
    sys.exit(main())
