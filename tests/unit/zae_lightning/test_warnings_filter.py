"""Warnings filter: messages of Lightning about itself are hidden during runs, all others are shown."""

from __future__ import annotations

import logging
import warnings

import pytest
from lightning.fabric.utilities import rank_zero as fabric
from lightning.pytorch.utilities import rank_zero as pytorch
from zae_lightning.warnings_filter import suppress_lightning_output

PACKAGES = (("lightning.pytorch", "lightning.fabric"), ("pytorch_lightning", "lightning_fabric"))
LOGGERS = [f"{package}.utilities.rank_zero" for packages in PACKAGES for package in packages]
WORKERS = "The 'train_dataloader' does not have many workers which may be a bottleneck."


def shown_warnings(*messages):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with suppress_lightning_output():
            for message in messages:
                warnings.warn(message, stacklevel=1)
        return [str(warning.message) for warning in caught]


def test_advice_of_lightning_is_hidden_and_other_warnings_are_shown():
    assert shown_warnings(WORKERS, "mine", "ModelCheckpoint found no metric") == [
        "mine",
        "ModelCheckpoint found no metric",
    ]


def test_after_a_run_the_same_advice_is_shown():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with suppress_lightning_output():
            pass
        warnings.warn(WORKERS, stacklevel=1)
    assert [str(warning.message) for warning in caught] == [WORKERS]


def test_it_stays_hidden_until_the_outermost_context_ends():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with suppress_lightning_output():
            with suppress_lightning_output():
                pass
            warnings.warn(WORKERS, stacklevel=1)
    assert caught == []


def test_an_exception_ends_the_context():
    with pytest.raises(ValueError, match="mine"), suppress_lightning_output():
        raise ValueError("mine")
    test_after_a_run_the_same_advice_is_shown()


def test_runs_add_one_filter_in_all():
    with warnings.catch_warnings():
        with suppress_lightning_output():
            pass
        filters = list(warnings.filters)
        with suppress_lightning_output():
            assert list(warnings.filters) == filters


@pytest.mark.parametrize("name", LOGGERS)
def test_banners_are_hidden_and_other_messages_are_logged(name, caplog):
    with caplog.at_level(logging.INFO, logger=name):
        with suppress_lightning_output():
            logging.getLogger(name).info("GPU available: False, used: False")
            logging.getLogger(name).info("Restored all states from the checkpoint")
        logging.getLogger(name).info("GPU available: True, used: True")
    assert caplog.messages == ["Restored all states from the checkpoint", "GPU available: True, used: True"]


def test_lightning_still_logs_with_these_loggers():
    assert {pytorch.__name__, fabric.__name__} <= set(LOGGERS)
    assert pytorch.rank_zero_module.log.name in LOGGERS
