"""A run with a key that would be recognised, and one that fails; it says all that there is to say.

python -m tests.cloud.canary_run PLACE STORE FOLDER
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import sys
import traceback
from pathlib import Path

import cirrus
from cirrus.testing.data import criteo_like
from tests.cloud.canary import RUN_KEY

SIZE = len(RUN_KEY)


async def main(place: str, store: str, folder: Path) -> None:
    criteo_like(folder / "clicks.tsv", 2000, seed=1)
    (folder / "broken.tsv").write_text("1\tno number\n")
    where = cirrus.emulated(store) if place == "emulator" else cirrus.local(store)
    for name in ("clicks", "broken"):
        pipeline = cirrus.Pipeline(
            name=name,
            data=cirrus.criteo(folder / f"{name}.tsv"),
            stages=(
                cirrus.Prepare(steps=(cirrus.Hash(bits=10),), workers=1),
                cirrus.Train(cirrus.LogisticRegression(), until=cirrus.epochs(1), workers=1),
            ),
        )
        print(pipeline, where)
        try:
            async with cirrus.start(pipeline, on=where) as run:
                async for event in run.events():
                    print(event)
                print(run, await run.result(), vars(run))
        except cirrus.CirrusError:
            traceback.print_exc()


if __name__ == "__main__":
    logging.basicConfig(level=logging.DEBUG)
    honest = secrets.token_bytes
    secrets.token_bytes = lambda nbytes=None: RUN_KEY if nbytes == SIZE else honest(nbytes)
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
    print("over")
