"""What a host on EC2 does when it begins: it installs cirrus, serves shards, and is gone when that is over."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field

from cirrus.wire.tls import Identity

PYTHON = "python3.11"
INSTALLING = 600
"""Seconds within which everything has to be installed."""


@dataclass(frozen=True, slots=True)
class Service:
    """What a host is told: what pip installs, the shards' ports, when to end, and its papers."""

    packages: tuple[str, ...]
    port: int
    shards: int
    idle: float
    secret: str = field(repr=False)
    identity: Identity = field(repr=False)


def script(service: Service) -> str:
    """A script for bash as root on Amazon Linux 2023; in the end, however it comes, it shuts the machine down."""
    packages = " ".join(shlex.quote(one) for one in service.packages)
    return f"""#!/bin/bash
set -euo pipefail
trap 'shutdown -h now' EXIT
umask 077

root=/opt/cirrus
useradd --system --home-dir "$root" --create-home cirrus
mkdir -p "$root/shard"
cat >"$root/shard/secret" <<'END'
{service.secret.strip()}
END
cat >"$root/shard/certificate.pem" <<'END'
{service.identity.certificate.strip()}
END
cat >"$root/shard/key.pem" <<'END'
{service.identity.key.strip()}
END
chown -R cirrus "$root"

timeout {INSTALLING} dnf install -y -q {PYTHON} {PYTHON}-pip
runuser -u cirrus -- {PYTHON} -m venv "$root/venv"
timeout {INSTALLING} runuser -u cirrus -- "$root/venv/bin/pip" install -q {packages}

runuser -u cirrus -- "$root/venv/bin/cirrus" shard serve --host 0.0.0.0 --port {service.port} \\
  --shards {service.shards} --idle {service.idle:g} --folder "$root/shard"
"""
