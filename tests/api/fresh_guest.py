"""A process that begins with ``import cirrus`` alone and trains on its loop: says how long that kept the loop busy.

    python -m tests.api.fresh_guest ROWS STORE
"""

from __future__ import annotations

import asyncio
import json
import sys

import cirrus
from tests.api.heartbeat import Heartbeat


async def main(rows: str, store: str) -> None:
    pulse = Heartbeat()
    beating = asyncio.ensure_future(pulse.beat())
    pipeline = cirrus.Pipeline(
        name="guest",
        data=cirrus.criteo(rows),
        stages=(
            cirrus.Prepare(steps=(cirrus.Bucket(), cirrus.Hash(bits=16)), test=cirrus.every(5, at=4), block=1000),
            cirrus.Train(model=cirrus.LogisticRegression(), optimizer=cirrus.Adagrad(), until=cirrus.epochs(1)),
        ),
    )
    result = await cirrus.run(pipeline, on=cirrus.local(store))
    beating.cancel()
    loss = result.metrics["train"]["log_loss"]
    sys.stdout.write(json.dumps({"busiest": pulse.busiest, "longest": pulse.longest, "loss": loss}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
