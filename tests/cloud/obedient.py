"""The program of ``tests.cloud.children`` as a module, and so forked."""

import numpy as np

from tests.cloud.children import PROGRAM
from tests.cloud.imported import PID

if __name__ == "__main__":
    exec(PROGRAM, {"PID": PID, "np": np})
