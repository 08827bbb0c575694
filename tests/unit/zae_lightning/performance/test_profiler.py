"""Null profiler: nothing is measured, and no context is built."""

from __future__ import annotations

import pytest
from lightning.pytorch.profilers import PassThroughProfiler, Profiler
from zae_lightning.performance.profiler import NullProfiler


def test_all_calls_share_one_context():
    profiler = NullProfiler()
    assert profiler.profile("forward") is profiler.profile("backward")
    assert PassThroughProfiler().profile("forward") is not PassThroughProfiler().profile("forward")


def test_contexts_nest_and_let_exceptions_pass():
    profiler = NullProfiler()
    with pytest.raises(ValueError, match="mine"), profiler.profile("outer"), profiler.profile("inner"):
        raise ValueError("mine")
    assert profiler.summary() == PassThroughProfiler().summary()


def test_runs_use_it_unless_the_user_gives_another(make, loader):
    trainer = make()
    trainer.run(1, loader)
    assert isinstance(trainer.lightning_trainer.profiler, NullProfiler)
    assert isinstance(trainer.lightning_trainer.profiler, Profiler)
