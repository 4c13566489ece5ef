"""``python -m cirrus`` is the command ``cirrus``."""

import sys

from cirrus.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
