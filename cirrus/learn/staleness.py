"""How much a gradient counts that was computed on old weights: as much as its news is new.

Many workers at once pull the same weights and push gradients that do not know of each other. Where they say the same,
the weights move as many times too far as there are steps in flight; where each has news of its own, all should count in
full. Steps in flight alone do not tell the two apart: a rate that is divided by the staleness is far too small for most
of the time and still too large at the start, when nothing was in flight yet as the first gradients were asked for.

The weights do tell. Since the pull they have moved by ``moved``; the gradient alone would move them by ``step``. Seen
along the gradient ``moved`` is ``echo`` times ``step``: so many times the same has been said already. A step counts
``exp(-echo**2)``, in full when the weights stand still or moved against it. However many steps are in flight, their sum
moves the weights by about two steps along a common direction, and nothing has to be tuned, warmed up or known about the
number of workers. ``benchmarks/staleness.py`` tries it against the rules that it replaces.
"""

from __future__ import annotations

import math

import numpy as np

from cirrus.learn.rows import Floats

_LOUD = 10.0
"""Echoes above this are alike: nothing is left of the step."""


def damping(gradient: Floats, step: Floats, moved: Floats) -> float:
    """The factor from 0 to 1 for a step; all arrays have one shape, and weights move by minus ``step``, ``moved``.

    ``moved`` is the weights at the pull minus the weights now. With nothing in flight it is 0 and the factor 1.
    """
    along = float(np.vdot(gradient, moved))
    own = float(np.vdot(gradient, step))
    if not along > 0.0 or not own > 0.0:
        return 1.0
    return math.exp(-(min(along / own, _LOUD) ** 2))
