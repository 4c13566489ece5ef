"""The verb for shards on other hosts: what may be typed after it."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable

from cirrus.cloud.served import PORT

Verb = Callable[..., ArgumentParser]

VERBS = {"shard": "cirrus.cli.serving:serve"}
SHARDS = 8
IDLE, PATIENCE = 3600.0, 30.0


def add(verb: Verb) -> None:
    """Make its parser."""
    made = verb("shard", "serve shards on this host for runs whose drivers are elsewhere", stored=False)
    made.add_argument("deed", choices=("serve",), metavar="serve", help="the only thing to do with shards here")
    made.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="where to listen (127.0.0.1)")
    made.add_argument("--port", type=int, default=PORT, metavar="N", help=f"the host's port ({PORT}; 0: any)")
    what = f"how many shards at a time, each at one of the ports that follow ({SHARDS})"
    made.add_argument("--shards", type=int, default=SHARDS, metavar="N", help=what)
    what = "where secret and certificate are kept; they are made where they are missing (~/.cirrus/shard)"
    made.add_argument("--folder", metavar="FOLDER", help=what)
    what = "a name or address for the certificate that is made; may be repeated"
    made.add_argument("--name", dest="names", action="append", default=[], metavar="NAME", help=what)
    made.add_argument("--certificate", metavar="FILE", help="a certificate of your own, PEM")
    made.add_argument("--key", metavar="FILE", help="its key, PEM")
    what = f"end when nobody has spoken for so long ({IDLE:g})"
    made.add_argument("--idle", type=float, default=IDLE, metavar="SECONDS", help=what)
    what = f"end a shard when its driver was away for so long ({PATIENCE:g})"
    made.add_argument("--patience", type=float, default=PATIENCE, metavar="SECONDS", help=what)
    made.add_argument("--at-end", metavar="COMMAND", help="what to run then, such as 'shutdown -h now'")
