"""Remembers in which process it was imported."""

import os

PID = os.getpid()
