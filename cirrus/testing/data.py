"""Made-up display-advertising rows in the format of the Criteo challenge, whose best possible log loss is known.

A label is drawn with a probability that a logistic model gives to the row's tokens, those that
``(Bucket(), Hash(bits))`` makes of it. So a linear model can come near the best loss, which is the mean entropy of
those probabilities. Frequent tokens carry the signal, rare ones none: few rows suffice to learn it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np

from cirrus.learn.bucketing import level
from cirrus.learn.columns import Doubles, Flags, Octets, Whole, Words

BASE_RATE = 0.25
BEST_LOSS = 0.44
"""The mean entropy that a model is scaled to; the rows of one file differ from it by a few thousandths."""

_CELLS = 1 << 16
_KNOTS = 1 << 13
_CHUNK = 8192
_PILOT = 16_384
_SIZES = (
    1000, 500, 20000, 10000, 200, 15, 5000, 400, 3, 10000, 4000, 20000, 3000, 26,
    4000, 15000, 10, 3000, 1500, 4, 15000, 15, 15, 8000, 70, 5000,
)  # fmt: skip
_MISSING = (0.45, 0.0, 0.2, 0.2, 0.03, 0.22, 0.04, 0.0, 0.04, 0.45, 0.04, 0.77, 0.2)
_CATEGORY_MISSING = {18: 0.44, 19: 0.44, 21: 0.77, 24: 0.44, 25: 0.44}
_CENTERS = (0.7, 1.5, 1.5, 1.5, 7.0, 3.5, 1.5, 2.2, 3.8, 0.3, 0.7, 0.2, 1.5)
_WIDTHS = (1.2, 1.6, 1.3, 1.0, 1.6, 1.6, 1.4, 1.0, 1.4, 0.5, 0.8, 0.6, 1.1)
_LARGEST = 99_999
_STEEPNESS = 1.4
_TELLING = 20
"""The tokens of a column, counted from the most frequent, that carry signal."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Rows before they are written: integers (13, n), -1 where missing; ranks (26, n), -1 where missing."""

    integers: Whole
    ranks: Whole
    probabilities: Doubles
    labels: Flags


class CriteoModel:
    """The logistic model behind the rows of one seed, and the rows themselves, by chunk."""

    def __init__(self, seed: int) -> None:
        """Draw vocabularies and weights, and scale them to the base rate and the best loss."""
        self._seed = seed
        chance = np.random.default_rng((seed, 0))
        normal = _normal_quantiles()
        self._numbers = [_number_quantiles(normal, *shape) for shape in zip(_CENTERS, _WIDTHS, _MISSING, strict=True)]
        self._quantiles = [
            _rank_quantiles(size, _CATEGORY_MISSING.get(column, 0.0)) for column, size in enumerate(_SIZES)
        ]
        self._texts = [_hexadecimal(chance, size) for size in _SIZES]
        self._digits = _digits()
        self._number_weights = [_number_weights(chance) for _ in _CENTERS]
        self._token_weights = [_token_weights(chance, size) for size in _SIZES]
        scores = self._scores(*self._values(np.random.default_rng((seed, 1)), _PILOT))
        self._scale, self._shift = _fitted(scores)

    def draw(self, chunk: int, rows: int) -> Drawn:
        """The first ``rows`` rows of a chunk; a pure function of seed, chunk and ``rows``."""
        chance = np.random.default_rng((self._seed, 2, chunk))
        integers, ranks = self._values(chance, rows)
        probabilities = _sigmoid(self._scale * self._scores(integers, ranks) + self._shift)
        return Drawn(integers, ranks, probabilities, chance.random(rows) < probabilities)

    def write(self, drawn: Drawn) -> bytes:
        """The rows as lines of text."""
        rows = len(drawn.labels)
        out = np.zeros((rows, 1 + 8 * len(drawn.integers) + 9 * len(drawn.ranks) + 1), np.uint8)
        out[:, 0] = drawn.labels + np.uint8(ord("0"))
        place = 1
        for values in drawn.integers:
            out[:, place : place + 8] = self._digits.take(values + 1)[:, None].view(np.uint8)
            place += 8
        for ranks, texts in zip(drawn.ranks, self._texts, strict=True):
            out[:, place] = ord("\t")
            out[:, place + 1 : place + 9] = texts.take(ranks + 1)[:, None].view(np.uint8)
            place += 9
        out[:, place] = ord("\n")
        return bytes(out[out != 0])

    def _values(self, chance: np.random.Generator, rows: int) -> tuple[Whole, Whole]:
        integers = np.empty((len(_CENTERS), rows), np.int64)
        for column, quantiles in enumerate(self._numbers):
            integers[column] = quantiles.take(chance.integers(0, _CELLS, rows))
        ranks = np.empty((len(_SIZES), rows), np.int64)
        for column, (first, spread) in enumerate(self._quantiles):
            place = chance.integers(0, _CELLS << 16, rows)
            cell = place >> 16
            ranks[column] = first.take(cell) + (spread.take(cell) * (place & 0xFFFF) >> 16)
        return integers, ranks

    def _scores(self, integers: Whole, ranks: Whole) -> Doubles:
        scores = np.zeros(integers.shape[1])
        for values, weights in zip(integers, self._number_weights, strict=True):
            scores += weights.take(values + 1)
        for values, weights in zip(ranks, self._token_weights, strict=True):
            scores += weights.take(values + 1)
        return scores


@dataclass(frozen=True, slots=True)
class Truth:
    """What is known about a file of made-up rows: the model, and the number of rows."""

    model: CriteoModel
    rows: int

    def probabilities(self) -> Iterator[tuple[Whole, Doubles, Flags]]:
        """For each chunk of rows their numbers, true probabilities and labels; drawn again, not remembered."""
        for chunk, first in enumerate(range(0, self.rows, _CHUNK)):
            drawn = self.model.draw(chunk, _CHUNK)
            here = min(_CHUNK, self.rows - first)
            yield np.arange(first, first + here), drawn.probabilities[:here], drawn.labels[:here]

    def best_loss(self, chosen: Callable[[Whole], Flags] | None = None) -> float:
        """The mean entropy of the rows whose numbers ``chosen`` flags: what no model beats on average."""
        return self._mean(chosen, lambda probability, _: entropy(probability))

    def loss_of_truth(self, chosen: Callable[[Whole], Flags] | None = None) -> float:
        """The log loss that the true probabilities have on the labels that were drawn; it differs by chance alone."""
        return self._mean(chosen, lambda probability, label: -np.log(np.where(label, probability, 1 - probability)))

    def _mean(self, chosen: Callable[[Whole], Flags] | None, loss: Callable[[Doubles, Flags], Doubles]) -> float:
        total, count = 0.0, 0
        for numbers, probability, label in self.probabilities():
            which = np.ones(len(numbers), np.bool_) if chosen is None else chosen(numbers)
            total += float(loss(probability[which], label[which]).sum())
            count += int(which.sum())
        return total / count


def criteo_like(path: str | Path, rows: int, seed: int = 0) -> Truth:
    """Write ``rows`` made-up rows to ``path``, in constant memory; the same bytes for the same arguments."""
    truth = Truth(CriteoModel(seed), rows)
    with Path(path).open("wb") as file:
        file.writelines(
            truth.model.write(_first(truth.model.draw(chunk, _CHUNK), min(_CHUNK, rows - first)))
            for chunk, first in enumerate(range(0, rows, _CHUNK))
        )
    return truth


def entropy(probability: Doubles) -> Doubles:
    """The expected log loss of knowing the probability, in nats."""
    return -probability * np.log(probability) - (1 - probability) * np.log1p(-probability)


def _first(drawn: Drawn, rows: int) -> Drawn:
    return Drawn(drawn.integers[:, :rows], drawn.ranks[:, :rows], drawn.probabilities[:rows], drawn.labels[:rows])


def _normal_quantiles() -> Doubles:
    """The standard normal quantiles of the middles of ``_KNOTS`` equal shares of probability."""
    normal = NormalDist()
    return np.array([normal.inv_cdf((knot + 0.5) / _KNOTS) for knot in range(_KNOTS)])


def _number_quantiles(normal: Doubles, center: float, width: float, missing: float) -> Whole:
    """The number of each equal share of probability: log-normal, rounded down, -1 for the missing share."""
    shares = (np.arange(_CELLS) + 0.5) / _CELLS
    places = np.maximum(shares - missing, 0) / (1 - missing) * _KNOTS - 0.5
    numbers = np.exp(center + width * np.interp(places, np.arange(_KNOTS), normal))
    values = np.minimum(numbers, _LARGEST).astype(np.int64)
    values[shares < missing] = -1
    return values


def _rank_quantiles(size: int, missing: float) -> tuple[Whole, Whole]:
    """For each equal share of probability the first rank that it may mean, and how many; rank -1 is missing."""
    weights = np.arange(1.0, size + 1) ** -_STEEPNESS
    shares = np.maximum(np.arange(_CELLS + 1) / _CELLS - missing, 0) / (1 - missing)
    edges = np.minimum(np.searchsorted(np.cumsum(weights / weights.sum()), shares), size - 1)
    first, spread = edges[:-1], np.maximum(np.diff(edges), 1)
    gone = shares[1:] <= 0
    first[gone], spread[gone] = -1, 1
    return first, spread


def _hexadecimal(chance: np.random.Generator, size: int) -> Words:
    """Eight hexadecimal digits for each rank, all different, as one word; nothing for a missing value."""
    values = np.unique(chance.integers(0, 1 << 32, 2 * size + 64, np.uint64))
    values = chance.permutation(values)[:size]
    nibbles = (values[:, None] >> np.arange(28, -1, -4, dtype=np.uint64)) & np.uint64(15)
    letters: Octets = np.frombuffer(b"0123456789abcdef", np.uint8)[nibbles.astype(np.int64)]
    return np.concatenate((np.zeros(1, np.uint64), letters.view(np.uint64)[:, 0]))


def _digits() -> Words:
    """A tab and the digits of each whole number, as one word; the tab alone for a missing one."""
    texts = np.char.add(b"\t", np.arange(_LARGEST + 1).astype("S7"))
    return np.concatenate((np.array([b"\t"], "S8"), texts.astype("S8"))).view(np.uint64)


def _number_weights(chance: np.random.Generator) -> Doubles:
    """The weight of each number from -1 (missing) on: a slope and a bend over its token's place, cut off far out."""
    levels = np.array([0, 0, 0.3, 0.6, *(level(value) for value in range(3, 1000))])
    place = np.minimum(levels, 20) / 10
    weights = np.full(_LARGEST + 2, 0.0)
    slope, bend = chance.normal(0, 0.5, 2)
    weights[: len(place)] = slope * place + 0.3 * bend * place**2
    weights[len(place) :] = weights[len(place) - 1]
    weights[0] = chance.normal(0, 0.3)
    return weights


def _token_weights(chance: np.random.Generator, size: int) -> Doubles:
    """The weight of a missing value and of each rank: drawn for the frequent ones, 0 for the others."""
    weights = np.zeros(size + 1)
    telling = min(size, _TELLING)
    weights[: telling + 1] = chance.normal(0, 0.5, telling + 1)
    return weights


def _sigmoid(scores: Doubles) -> Doubles:
    return 1 / (1 + np.exp(-np.clip(scores, -30, 30)))


def _fitted(scores: Doubles) -> tuple[float, float]:
    """Scale and shift that bring scores to the base rate and the best loss."""
    centered = scores - scores.mean()

    def shift(scale: float) -> float:
        return _bisected(lambda one: float(_sigmoid(scale * centered + one).mean()) - BASE_RATE, -10, 10)

    def excess(scale: float) -> float:
        return BEST_LOSS - float(entropy(_sigmoid(scale * centered + shift(scale))).mean())

    scale = _bisected(excess, 0.01, 5)
    return scale, shift(scale) - scale * float(scores.mean())


def _bisected(rising: Callable[[float], float], low: float, high: float) -> float:
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2
