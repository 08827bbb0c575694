"""Epoch summary: what finishing an epoch does with it."""

from __future__ import annotations

import torch

from zae_engine.trainer import History, ProgressChecker
from zae_engine.trainer.epoch_summary import EpochSummary, record_epoch


def optimizer() -> torch.optim.SGD:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)


def summary(**changes: object) -> EpochSummary:
    values = {"record": {"epoch": 1, "train_loss": 0.5}, "loss": 0.5, "plateau": True, "better": True, **changes}
    return EpochSummary(**values)


def test_the_record_the_mark_and_the_count_are_kept():
    history, progress = History(), ProgressChecker()
    record_epoch(summary(), history, None, progress)
    assert list(history) == [{"epoch": 1, "train_loss": 0.5, "best": True}]
    assert progress.get_epoch() == 2


def test_the_scheduler_steps_once_with_the_arguments_of_the_run():
    received = []

    class Recording:
        def step(self, **kwargs: object) -> None:
            received.append(kwargs)

    record_epoch(summary(kwargs={"epoch": 7}), History(), Recording(), ProgressChecker())
    assert received == [{"epoch": 7}]


def test_a_plateau_scheduler_sees_the_loss_only_where_it_is_comparable():
    for plateau, best in ((True, 0.5), (False, float("inf"))):
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer())
        record_epoch(summary(plateau=plateau), History(), scheduler, ProgressChecker())
        assert scheduler.best == best
