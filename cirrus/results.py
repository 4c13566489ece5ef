"""What a run has come to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cirrus import pictures
from cirrus.core.cost import Cost
from cirrus.core.views import Trial
from cirrus.errors import RunError
from cirrus.events import LossReported
from cirrus.trained import Model


@dataclass(frozen=True, slots=True)
class Result:
    """A finished run: its id, the figures of each stage by name, what it cost, and the evaluations on the way.

    ``metrics["train"]`` has ``log_loss``, ``auc``, ``accuracy`` (where there were test rows), ``train_loss``,
    ``samples``, ``steps``, ``seconds`` and ``samples_per_second``; ``metrics["prepare"]`` has ``rows_in``, ``skipped``,
    ``train``, ``test``, ``features`` and ``seconds``. ``metrics["tune"]`` has those of the best trial, its number
    (``best``), how many ``trials`` there were, and the ``samples`` of all. ``trials`` are those of all stages.
    """

    run_id: str
    metrics: Mapping[str, Mapping[str, float]]
    cost: Cost
    history: tuple[LossReported, ...]
    trained: Model | None = field(default=None, repr=False)
    trials: tuple[Trial, ...] = ()

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        figures = [
            (stage, name.replace("_", " "), pictures.value(figure))
            for stage, found in self.metrics.items()
            for name, figure in found.items()
        ]
        rows = [(one.number, one.settings, one.outcome, one.loss, one.samples, one.dollars) for one in self.trials]
        return pictures.framed(
            pictures.heading(f"{self.run_id}: done"),
            pictures.sentence(f"${self.cost.dollars:.4f}, {self.cost.invocations} workers started"),
            pictures.table(("stage", "figure", "value"), figures),
            pictures.trials(rows),
        )

    @property
    def model(self) -> Model:
        """The model of the last training stage; ``RunError`` where the pipeline has none."""
        if self.trained is None:
            raise RunError("the pipeline has no training stage, so there is no model")
        return self.trained
