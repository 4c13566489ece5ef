"""From a model's settings to the kernel that computes for it."""

from __future__ import annotations

import importlib
from typing import Any, cast

from cirrus.errors import PipelineError
from cirrus.learn.base import Kernel
from cirrus.models import ModelSpec
from cirrus.optimizers import Optimizer


def kernel_of(spec: ModelSpec, features: int, optimizer: Optimizer) -> Kernel:
    """The kernel that the settings name, made for them; ``PipelineError`` where it cannot be imported."""
    return cast("Kernel", kernel_class(spec)(spec, features, optimizer))


def kernel_class(spec: ModelSpec) -> Any:
    """The class of the kernel that the settings name; ``PipelineError`` where it cannot be imported."""
    module, _, name = spec.kernel.partition(":")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise PipelineError("model.kernel", spec.kernel, "module:name of an importable kernel") from error
