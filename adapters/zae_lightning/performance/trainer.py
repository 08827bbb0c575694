"""The ``L.Trainer`` of a run: Lightning's own, two of whose properties are read dozens of times a step."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.trainer.states import RunningStage


class FastTrainer(L.Trainer):
    """Lightning's trainer, with the same answers at less cost.

    ``strategy`` goes through two objects to what never changes, fifty times a step; ``training`` compares enumeration
    members as lower-case strings, a dozen times.
    """

    @cached_property
    def strategy(self) -> Any:
        """The strategy, which is settled when the trainer is constructed."""
        return super().strategy

    @property
    def training(self) -> bool:
        """Whether it is training."""
        return self.state.stage is RunningStage.TRAINING

    @training.setter
    def training(self, value: bool) -> None:
        if value:
            self.state.stage = RunningStage.TRAINING
        elif self.training:
            self.state.stage = None
