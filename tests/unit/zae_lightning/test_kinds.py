"""Object kinds: callbacks, loggers and strategies by their class."""

from __future__ import annotations

import pytest
from lightning.pytorch.callbacks import Callback, EarlyStopping
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.strategies import DDPStrategy
from zae_lightning import kind_of_object


@pytest.mark.parametrize(
    ("build", "kind"),
    [
        (Callback, "callback"),
        (lambda: EarlyStopping("loss"), "callback"),
        (lambda: CSVLogger("logs"), "logger"),
        (DDPStrategy, "strategy"),
        (lambda: Callback, None),
        (lambda: "ddp", None),
    ],
)
def test_kind(build, kind):
    assert kind_of_object(build()) == kind
