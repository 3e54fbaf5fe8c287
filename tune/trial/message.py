"""Messages of a running trial to the searching process, through Ray Tune."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray.tune

from hcvae.training.precision import PrecisionChoice
from tune.study.outcome import Outcome


@dataclass(frozen=True)
class Message:
    """A message of a running trial: its precision, the metrics of an epoch, or its outcome."""

    epoch: dict[str, float] | None = None
    outcome: Outcome | None = None
    precision: PrecisionChoice | None = None

    def send(self) -> None:
        """Report through Ray Tune, as text: Tune flattens nested results and adds its own keys."""
        content = {
            "epoch": self.epoch,
            "outcome": self.outcome and self.outcome.model_dump(mode="json"),
            "precision": self.precision and self.precision.model_dump(mode="json"),
        }
        ray.tune.report({"message": json.dumps(content)})

    @classmethod
    def read(cls, result: Mapping[str, Any]) -> "Message":
        """Return the message in one of Tune's results."""
        content = json.loads(result["message"])
        outcome = content["outcome"]
        precision = content.get("precision")
        return cls(
            content["epoch"],
            outcome and Outcome.model_validate(outcome),
            precision and PrecisionChoice.model_validate(precision),
        )
