"""Descriptions of tables: the same after a trip through JSON, and nothing else."""

import json
from typing import Any

import pytest

from cirrus.errors import WireError
from cirrus.learn.base import TableSpec
from cirrus.optimizers import FTRL, SGD, Adagrad, Adam, Momentum, Nesterov, Optimizer
from cirrus.wire.specs import spec_from_json, spec_to_json


@pytest.mark.parametrize("optimizer", [SGD(0.5), Momentum(), Nesterov(0.1, 0.2), Adagrad(), Adam(), FTRL(0.1, 2.0)])
def test_specs_come_back_as_they_went(optimizer: Optimizer) -> None:
    spec = TableSpec("weights", 2**20 + 1, 3, optimizer, l2=1e-6, l1=0.1, free=2**20)
    assert spec_from_json(json.loads(json.dumps(spec_to_json(spec)))) == spec


def good() -> dict[str, Any]:
    return dict(spec_to_json(TableSpec("weights", 10, 1, SGD(0.5))))


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "../x"},
        {"name": 1},
        {"rows": 0},
        {"rows": 2**32 + 1},
        {"rows": True},
        {"rows": 1.5},
        {"width": 65536},
        {"l2": -1.0},
        {"l2": float("nan")},
        {"l1": "much"},
        {"free": 10},
        {"stale": "often"},
        {"more": 1},
        {"optimizer": None},
        {"optimizer": {"rule": "SGD"}},
        {"optimizer": {"rule": "SGD", "rate": 0}},
        {"optimizer": {"rule": "SGD", "rate": 0.1, "momentum": 0.9}},
        {"optimizer": {"rule": "Exec", "rate": 0.1}},
        {"optimizer": {"rule": ["SGD"], "rate": 0.1}},
        {"optimizer": {"rate": 0.1}},
    ],
)
def test_anything_else_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(WireError):
        spec_from_json({**good(), **changed})


@pytest.mark.parametrize("given", [None, [], "x", 1, {}])
def test_other_shapes_are_refused(given: object) -> None:
    with pytest.raises(WireError):
        spec_from_json(given)


def test_missing_fields_are_refused() -> None:
    for name in good():
        with pytest.raises(WireError):
            spec_from_json({key: value for key, value in good().items() if key != name})
