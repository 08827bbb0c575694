"""Lightning kinds: callbacks and loggers of both packages, in any container; everything else is named."""

from __future__ import annotations

from collections import UserList, deque
from collections.abc import Iterator

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.loggers import CSVLogger

from zae_engine.trainer.utilities.lightning_kinds import has_progress_bar, is_callback, is_logger, to_list

pytorch_lightning = pytest.importorskip("pytorch_lightning")


class LogsMetrics:
    """Is a logger by its method alone, such as one of lightning.fabric's."""

    def log_metrics(self, metrics, step):
        """Do nothing."""


@pytest.mark.parametrize(
    ("build", "callback", "logger"),
    [
        (lambda: L.callbacks.EarlyStopping("loss"), True, False),
        (lambda: pytorch_lightning.callbacks.EarlyStopping("loss"), True, False),
        (lambda: CSVLogger("logs"), False, True),
        (lambda: pytorch_lightning.loggers.CSVLogger("logs"), False, True),
        (LogsMetrics, False, True),
        (lambda: CSVLogger, False, False),
        (lambda: L.Callback, False, False),
        (lambda: "early_stopping", False, False),
        (lambda: None, False, False),
    ],
)
def test_kinds(build, callback, logger):
    value = build()
    assert (is_callback(value), is_logger(value)) == (callback, logger)


class OfItsOwn:
    """Can be iterated by index alone, as Hydra's ``ListConfig`` can."""

    def __init__(self, values):
        self.values = values

    def __iter__(self) -> Iterator[object]:
        return iter(self.values)


@pytest.mark.parametrize(
    "contain",
    [
        list,
        tuple,
        deque,
        UserList,
        OfItsOwn,
        iter,
        lambda parts: dict(enumerate(parts)),
        lambda parts: (p for p in parts),
    ],
)
def test_containers(contain):
    callbacks = [L.Callback(), pytorch_lightning.Callback()]
    assert to_list(contain(callbacks), "callback") == callbacks


def test_nothing_and_a_single_object():
    callback, logger = L.Callback(), CSVLogger("logs")
    assert to_list(None, "callback") == to_list([], "logger") == []
    assert to_list(callback, "callback") == [callback]
    assert to_list(logger, "logger") == [logger]


@pytest.mark.parametrize("kind", ["callback", "logger"])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (42, "42 "),
        ("early_stopping", "'early_stopping'"),
        (print, "print"),
        (torch.nn.Sequential(torch.nn.ReLU()), "of type Sequential"),
        (L.callbacks.EarlyStopping, r"EarlyStopping is a class; .*EarlyStopping\(\.\.\.\)"),
        (None, "None"),
    ],
)
def test_what_is_neither_is_named(kind, value, message):
    with pytest.raises(TypeError, match=message):
        to_list([value], kind)
    if value is not None:
        with pytest.raises(TypeError, match=message):
            to_list(value, kind)


def test_one_in_the_place_of_the_other_is_told_where_it_belongs():
    with pytest.raises(TypeError, match=r"CSVLogger.* is a logger: give it as loggers=\[\.\.\.\]"):
        to_list([CSVLogger("logs")], "callback")
    with pytest.raises(TypeError, match=r"Callback.* is a callback: give it as callbacks=\[\.\.\.\]"):
        to_list(L.Callback(), "logger")


@pytest.mark.parametrize("package", [L, pytorch_lightning])
def test_a_progress_bar_is_found(package):
    callbacks = [L.Callback()]
    assert not has_progress_bar(callbacks, {})
    assert has_progress_bar(callbacks, {"enable_progress_bar": True})
    assert has_progress_bar([*callbacks, package.callbacks.TQDMProgressBar()], {})
    assert not has_progress_bar("of a subclass", {})
