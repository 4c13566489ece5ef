"""A model as it is kept where there is no parameter server: in an object store, or in Redis.

It counts the updates made to it. Where it is read whole and written whole, and two have read the same, one's update is
lost together with its count: what is counted at the end is what survived.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from lithops.constants import LITHOPS_TEMP_DIR
from redis import Redis

from benchmarks.kernels import BIAS, INITIAL, RATE, Batch, Floats, Keys, Model

MODEL = "model"
COUNT = "count"
ONE = float(1 << 24)
"""In the fixed-point numbers that Redis adds up."""


class Store(Protocol):
    """Objects by name."""

    def get(self, name: str) -> bytes: ...

    def put(self, name: str, content: bytes) -> None: ...


class Objects:
    """Lithops' storage of this machine; it writes in place, where halves are seen: here beside, and renames."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage
        self._folder = Path(LITHOPS_TEMP_DIR) / storage.bucket

    def get(self, name: str) -> bytes:
        content: bytes = self._storage.get_object(self._storage.bucket, name)
        return content

    def put(self, name: str, content: bytes) -> None:
        beside = f"{name}.{os.getpid()}"
        self._storage.put_object(self._storage.bucket, beside, content)
        (self._folder / beside).replace(self._folder / name)


class Values:
    """Redis."""

    def __init__(self, port: int) -> None:
        self._redis: Any = Redis(port=port)

    def get(self, name: str) -> bytes:
        content: bytes = self._redis.get(name)
        return content

    def put(self, name: str, content: bytes) -> None:
        self._redis.set(name, content)


class Shared(Protocol):
    """The model that everybody changes, kept elsewhere."""

    def learn(self, batch: Batch) -> None:
        """Make one update."""
        ...

    def look(self) -> tuple[Floats, int]:
        """The weights, and how many updates are in them."""
        ...


class Whole(Model):
    """A model that is read whole and written whole, in one piece of memory with its count before it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._numbers = np.zeros(2 + 2 * (BIAS + 1), np.float32)
        self._count = self._numbers[:2].view(np.int64)
        self.weights, self.squares = self._numbers[2:].reshape(2, BIAS + 1)
        self.squares[:] = INITIAL

    def push(self, keys: Keys, gradient: Floats) -> None:
        super().push(keys, gradient)
        self._count += 1

    def write(self) -> None:
        self._store.put(MODEL, self._numbers.tobytes())

    def gradient(self, batch: Batch) -> Floats:
        """That of the model as it is now."""
        self._numbers[:] = np.frombuffer(self._store.get(MODEL), np.float32)
        return batch.gradient(self.weights[batch.keys])

    def learn(self, batch: Batch) -> None:
        self.push(batch.keys, self.gradient(batch))
        self.write()

    def look(self) -> tuple[Floats, int]:
        numbers = np.frombuffer(self._store.get(MODEL), np.float32)
        return numbers[2 : 3 + BIAS], int(numbers[:2].view(np.int64)[0])


class InPlace:
    """A model in Redis that loses nothing: fixed-point numbers of 32 bits, to which Redis itself adds."""

    def __init__(self, port: int) -> None:
        self._redis: Any = Redis(port=port)

    def write(self) -> None:
        """Begin."""
        weights = np.zeros(BIAS + 1, ">i4")
        squares = np.full(BIAS + 1, INITIAL * ONE, ">i4")
        self._redis.set(MODEL, weights.tobytes() + squares.tobytes())

    def learn(self, batch: Batch) -> None:
        names = [b"#%d" % key for key in np.concatenate((batch.keys, batch.keys + np.uint32(BIAS + 1)))]
        asked = [word for name in names for word in (b"GET", b"i32", name)]
        found = np.array(self._redis.execute_command("BITFIELD", MODEL, *asked)) / ONE
        weights, squares = found.reshape(2, -1)
        gradient = batch.gradient(weights.astype(np.float32)).astype(np.float64)
        more = gradient * gradient
        change = np.rint(np.concatenate((-RATE * gradient / np.sqrt(squares + more), more)) * ONE).astype(np.int64)
        pairs = zip(names, change.tolist(), strict=True)
        added = [word for name, by in pairs for word in (b"INCRBY", b"i32", name, by)]
        with self._redis.pipeline() as together:
            together.execute_command("BITFIELD", MODEL, b"OVERFLOW", b"SAT", *added)
            together.incr(COUNT)
            together.execute()

    def look(self) -> tuple[Floats, int]:
        content, count = self._redis.mget(MODEL, COUNT)
        return (np.frombuffer(content, ">i4", BIAS + 1) / ONE).astype(np.float32), int(count or 0)
