"""What a stage's workers are to do: frozen values, kept as JSON objects in the store, named in the welcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cirrus.learn.base import Kernel
from cirrus.learn.kernels import kernel_of as made
from cirrus.pipeline import Prepare, Train
from cirrus.sources import Source
from cirrus.store.base import ObjectStore
from cirrus.store.inputs import Split
from cirrus.wire.codec import Codec

LARGEST = 256 * 2**20

Use = Literal["divided", "train", "test"]


@dataclass(frozen=True, slots=True)
class Input:
    """One of a stage's inputs: the store's URL, the definite source, each object's first line if that is a header.

    ``header`` is its bytes as Latin-1. ``use`` says what its rows are for: ``divided`` by the stage's rule, or all of
    them for one purpose.
    """

    url: str
    source: Source
    header: str
    use: Use


@dataclass(frozen=True, slots=True)
class Piece:
    """A split of the input with that number."""

    input: int
    split: Split


@dataclass(frozen=True, slots=True)
class PrepareWork:
    """Prepare the rows of ``pieces``; what is written goes below ``output``.

    The first ``scans`` units scan one piece each (all of them, or none), the next ``len(pieces)`` encode one each. What
    encoding needs to know stands in the object ``encoding``, which is there before any of these units is granted.
    """

    prepare: Prepare
    inputs: tuple[Input, ...]
    pieces: tuple[Piece, ...]
    scans: int
    output: str
    encoding: str


@dataclass(frozen=True, slots=True)
class Encoding:
    """What scanning found: the fitted encoder as its JSON text, and the number of each piece's first row."""

    encoder: str
    first_rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Written:
    """What a worker wrote for a piece: blocks as (key, rows, values, bytes, CRC-32), and the rows that it read."""

    train: tuple[tuple[str, int, int, int, int], ...]
    test: tuple[tuple[str, int, int, int, int], ...]
    rows: int
    skipped: int


@dataclass(frozen=True, slots=True)
class TrainWork:
    """Learn ``train`` on the data set whose manifest is ``dataset``, as the stage or trial called ``name``.

    ``base`` is added to a unit's number in the shards' ledgers, so that stages do not meet there.
    """

    train: Train
    name: str
    dataset: str
    base: int

    def table(self, name: str) -> str:
        """The name on the shards of the kernel's table ``name``."""
        return f"{self.name}.{name}"


@dataclass(frozen=True, slots=True)
class MeasureWork:
    """Measure models on the test rows of the data set whose manifest is ``dataset``.

    Which model a unit is about says the object ``requests`` with the unit's number: it is the key of its ``TrainWork``.
    """

    dataset: str
    requests: str

    def request(self, unit: int) -> str:
        """The key of the object that says what a unit is about."""
        return f"{self.requests}{unit:09d}.txt"


PREPARE_WORK: Codec[PrepareWork] = Codec(PrepareWork, LARGEST)
ENCODING: Codec[Encoding] = Codec(Encoding, LARGEST)
WRITTEN: Codec[Written] = Codec(Written, LARGEST)
TRAIN_WORK: Codec[TrainWork] = Codec(TrainWork, LARGEST)
MEASURE_WORK: Codec[MeasureWork] = Codec(MeasureWork, LARGEST)


async def read_train_work(store: ObjectStore, key: str) -> TrainWork:
    """The description that the driver wrote under ``key``."""
    return TRAIN_WORK.from_json((await store.get(key)).decode())


def kernel_of(train: Train, features: int) -> Kernel:
    """The kernel that computes for the stage's model; ``PipelineError`` where it cannot be imported."""
    return made(train.model, features, train.optimizer)


def tables_of(train: Train, name: str, features: int) -> dict[str, str]:
    """The names of the kernel's tables, and their names on the shards, for the stage or trial called ``name``."""
    return {spec.name: f"{name}.{spec.name}" for spec in kernel_of(train, features).tables()}
