"""Assignments as one line of JSON: how a worker is told what it is."""

from __future__ import annotations

import json
import math
from typing import get_args

from cirrus.cloud.base import Assignment, Role
from cirrus.core.ids import WorkerId
from cirrus.errors import WireError

LARGEST = 65_536


def assignment_to_json(assignment: Assignment) -> str:
    """The assignment as one line without its end. It contains the token: keep it out of logs, arguments and names."""
    worker = assignment.worker
    return json.dumps(
        {
            "run_id": assignment.run_id,
            "epoch": assignment.epoch,
            "worker": [worker.pool, worker.slot, worker.attempt],
            "role": assignment.role,
            "shards": assignment.shards,
            "store": assignment.store,
            "token": assignment.token,
            "memory": assignment.memory,
            "timeout": assignment.timeout,
            "ca": assignment.ca,
        },
        separators=(",", ":"),
    )


def assignment_from_json(line: str) -> Assignment:
    """The assignment that ``assignment_to_json`` wrote; ``WireError`` for anything else, without repeating it."""
    if len(line) > LARGEST:
        raise WireError(f"an assignment has at most {LARGEST} characters, not {len(line)}")
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise WireError("an assignment is one line of JSON") from None
    match found:
        case {
            "run_id": str(run_id),
            "epoch": int(epoch),
            "worker": [str(pool), int(slot), int(attempt)],
            "role": str(role),
            "shards": [*shards],
            "store": str(store),
            "token": str(token),
            "memory": int(memory),
            "timeout": int() | float() as timeout,
            "ca": str(ca),
            **rest,
        } if not rest and _sound((epoch, slot, attempt, memory), shards, timeout):
            worker = WorkerId(pool, slot, attempt)
            where = (tuple(shards), store, token)
            return Assignment(run_id, epoch, worker, _role(role), *where, memory, float(timeout), ca)
        case _:
            raise WireError("an assignment lacks a field, or has one of the wrong type or name")


def _sound(numbers: tuple[int, ...], shards: list[object], timeout: float) -> bool:
    """What patterns do not say: no truth values among the numbers, texts in the list, a time that ends."""
    return (
        all(not isinstance(one, bool) and one >= 0 for one in numbers)
        and all(isinstance(one, str) for one in shards)
        and 0 < timeout < math.inf
    )


def _role(text: str) -> Role:
    for role in get_args(Role):
        if role == text:
            known: Role = role
            return known
    raise WireError(f"an assignment's role is one of {', '.join(get_args(Role))}")
