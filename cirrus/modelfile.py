"""A trained model as one object: a safetensors file whose metadata hold a JSON document with all that is no number.

The document is ``{"version", "model", "settings", "encoder", "metrics"}``: the name of the model's class, its fields,
what ``Encoder.to_json`` wrote, and figures by name (``null``: not defined). Whatever is read is measured against what
the named model declares before any table is made; nothing in a file can name code to run.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from cirrus.errors import Corrupt, PipelineError, WireError
from cirrus.learn.encoding import Encoder
from cirrus.learn.kernels import kernel_of
from cirrus.learn.rows import Floats
from cirrus.models import ModelSpec
from cirrus.optimizers import SGD
from cirrus.wire.codec import Codec

VERSION: Final = 1
KEY: Final = "cirrus"
"""The metadata entry that holds the document."""

MOST_HEADER: Final = 16 * 2**20
MOST_BYTES: Final = 2**34

_FIELDS: Final = {"version", "model", "settings", "encoder", "metrics"}


@dataclass(frozen=True, slots=True)
class Stored:
    """All parts of a trained model; ``weights`` are float32 of shape (rows, width) by table."""

    spec: ModelSpec
    encoder: Encoder
    weights: Mapping[str, Floats]
    metrics: Mapping[str, float]


def encode_model(stored: Stored) -> bytes:
    """The bytes of the file."""
    document = {
        "version": VERSION,
        "model": type(stored.spec).__name__,
        "settings": json.loads(Codec[ModelSpec](type(stored.spec)).to_json(stored.spec)),
        "encoder": json.loads(stored.encoder.to_json()),
        "metrics": {name: value if math.isfinite(value) else None for name, value in stored.metrics.items()},
    }
    return safetensors.numpy.save(dict(stored.weights), {KEY: json.dumps(document, allow_nan=False)})


def decode_model(data: bytes, name: str, models: Sequence[type[ModelSpec]]) -> Stored:
    """Read a file that ``encode_model`` wrote, of one of these classes; anything else is ``Corrupt`` at ``name``."""
    try:
        header = _header(data)
        document = _document(header.pop("__metadata__", None))
        spec = _spec(document, models)
        encoder = Encoder.from_json(json.dumps(document["encoder"]))
        _check_tables(header, spec, encoder)
        metrics = _metrics(document["metrics"])
        weights = safetensors.numpy.load(data)
    except (ValueError, KeyError, TypeError, RecursionError, PipelineError, WireError, SafetensorError) as error:
        raise Corrupt(name, f"not a model of cirrus: {error}") from error
    if not all(np.isfinite(table).all() for table in weights.values()):
        raise Corrupt(name, "weights that are not finite")
    return Stored(spec, encoder, weights, metrics)


def _header(data: bytes) -> dict[str, object]:
    size = int.from_bytes(data[:8], "little")
    if len(data) > MOST_BYTES or size > MOST_HEADER or size + 8 > len(data):
        raise ValueError("a header or a file that is too long, or shorter than it says")
    header = json.loads(data[8 : 8 + size])
    if not isinstance(header, dict):
        raise TypeError("a header that is no map")
    return header


def _document(metadata: object) -> dict[str, object]:
    if not isinstance(metadata, dict) or not isinstance(metadata.get(KEY), str):
        raise TypeError("no document in the metadata")
    document = json.loads(metadata[KEY])
    if not isinstance(document, dict) or document.get("version") != VERSION:
        version = document.get("version") if isinstance(document, dict) else None
        raise ValueError(f"version {version!r}; this cirrus reads version {VERSION}")
    if document.keys() != _FIELDS:
        raise ValueError(f"fields {sorted(document)} instead of {sorted(_FIELDS)}")
    return document


def _spec(document: Mapping[str, object], models: Sequence[type[ModelSpec]]) -> ModelSpec:
    for model in models:
        if model.__name__ == document["model"]:
            return Codec[ModelSpec](model).from_json(json.dumps(document["settings"]))
    raise ValueError(f"model {document['model']!r}; known are {[model.__name__ for model in models]}")


def _check_tables(header: Mapping[str, object], spec: ModelSpec, encoder: Encoder) -> None:
    """The file must declare exactly the tables of the model, or nothing of it is made."""
    tables = kernel_of(spec, encoder.features, SGD()).tables()
    wanted = {table.name: ("F32", [table.rows, table.width]) for table in tables}
    found = {
        name: (entry.get("dtype"), entry.get("shape")) if isinstance(entry, dict) else None
        for name, entry in header.items()
    }
    if found != wanted:
        raise ValueError("other tables than the model has")


def _metrics(given: object) -> dict[str, float]:
    if not isinstance(given, dict):
        raise TypeError("metrics that are no map")
    metrics: dict[str, float] = {}
    for name, value in given.items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise TypeError(f"metric {name!r} that is no number")
        metrics[name] = math.nan if value is None else float(value)
    return metrics
