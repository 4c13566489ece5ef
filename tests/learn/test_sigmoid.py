"""The logistic function against scipy's, far out as well."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_expit

from cirrus.learn.sigmoid import log_sigmoid, sigmoid

MARGINS = np.concatenate([np.linspace(-30, 30, 2001), [-1000.0, -90.0, 90.0, 1000.0, 0.0]])
SINGLE: NDArray[np.float32] = MARGINS.astype(np.float32)


def test_it_equals_scipy_in_single_precision() -> None:
    assert sigmoid(SINGLE).dtype == np.float32
    assert log_sigmoid(SINGLE).dtype == np.float32
    np.testing.assert_allclose(sigmoid(SINGLE), expit(SINGLE), rtol=3e-7, atol=1e-38)
    np.testing.assert_allclose(log_sigmoid(SINGLE), log_expit(SINGLE), rtol=3e-7, atol=1e-38)


def test_it_equals_scipy_in_double_precision() -> None:
    np.testing.assert_allclose(sigmoid(MARGINS), expit(MARGINS), rtol=1e-15, atol=1e-38)
    np.testing.assert_allclose(log_sigmoid(MARGINS), log_expit(MARGINS), rtol=1e-15, atol=1e-38)
