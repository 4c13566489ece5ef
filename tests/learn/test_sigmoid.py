"""The logistic function against scipy's, far out as well."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, log_expit

from cirrus.learn.sigmoid import log_sigmoid, sigmoid

MARGINS = np.concatenate([np.linspace(-30, 30, 2001), [-1000.0, -90.0, 90.0, 1000.0, 0.0]])


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 3e-7), (np.float64, 1e-15)])
def test_it_equals_scipy(dtype: type[np.float32 | np.float64], tolerance: float) -> None:
    margins = MARGINS.astype(dtype)
    assert sigmoid(margins).dtype == dtype
    assert log_sigmoid(margins).dtype == dtype
    np.testing.assert_allclose(sigmoid(margins), expit(margins), rtol=tolerance, atol=1e-38)
    np.testing.assert_allclose(log_sigmoid(margins), log_expit(margins), rtol=tolerance, atol=1e-38)
