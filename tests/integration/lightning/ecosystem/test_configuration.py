"""Configuration: Hydra's and OmegaConf's containers, and Lightning's command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from hydra.utils import instantiate
from lightning.pytorch.cli import LightningCLI
from omegaconf import OmegaConf

from ..conformance.observing import files, rows
from ..conformance.players import Player
from ..conformance.problem import train_loader, valid_loader

PARTS = """
callbacks:
  - {_target_: lightning.pytorch.callbacks.EarlyStopping, monitor: val_loss, patience: 1, min_delta: 10.0}
  - {_target_: lightning.pytorch.callbacks.ModelCheckpoint, dirpath: saved, filename: "{epoch}", monitor: val_loss}
loggers:
  - {_target_: lightning.pytorch.loggers.CSVLogger, save_dir: ., name: logs}
lightning:
  accumulate_grad_batches: 1
  limit_train_batches: 2
"""


@pytest.mark.parametrize("foreign", [False, True])
def test_parts_that_hydra_instantiates(tmp_path: Path, foreign: bool):
    text = PARTS.replace("lightning.pytorch", "pytorch_lightning") if foreign else PARTS
    found = {}
    for way, config in (("hand_written", PARTS), ("run", text)):
        folder = tmp_path / way
        folder.mkdir()
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            parts = instantiate(OmegaConf.create(config))
            if way == "run":
                given = {"callbacks": parts.callbacks, "loggers": parts.loggers, "lightning": parts.lightning}
                subject = Player(way, folder).make(given=given)
            else:
                subject = Player(way, folder).make(
                    callbacks=list(parts.callbacks), loggers=list(parts.loggers), arguments=dict(parts.lightning)
                )
            subject.fit(5, train_loader(), valid_loader())
            found[way] = {
                "files": files("saved"),
                "stopped": parts.callbacks[0].stopped_epoch,
                "rows": len(rows(parts.loggers[0]).get("loss", [])),
                **subject.counts(),
            }
    assert found["run"] == found["hand_written"]


def test_parts_in_a_list_config_of_objects(tmp_path: Path):
    stopping = L.callbacks.EarlyStopping("val_loss", patience=1, min_delta=10.0)
    parts = OmegaConf.create({"callbacks": [stopping]}, flags={"allow_objects": True}).callbacks
    subject = Player("run", tmp_path).make(given={"callbacks": parts})
    subject.fit(5, train_loader(), valid_loader())
    assert stopping.stopped_epoch == 1


def test_the_command_line_fits_the_module(compare: Any, way: str):
    if way == "run":
        pytest.skip("the command line has an L.Trainer of its own")

    def play(player: Player) -> dict[str, Any]:
        subject = player.make(optimizer=torch.optim.Adam)

        def module() -> L.LightningModule:
            return subject.module

        module.__qualname__ = f"module_{player.way}"  # the command line makes a class of this name

        class Data(L.LightningDataModule):
            def train_dataloader(self) -> Any:
                return train_loader()

            def val_dataloader(self) -> Any:
                return valid_loader()

        arguments = ["fit", "--trainer.max_epochs=2", "--trainer.logger=false", "--trainer.accelerator=cpu"]
        arguments += ["--trainer.enable_checkpointing=false", "--trainer.enable_progress_bar=false"]
        cli = LightningCLI(
            module, Data, args=arguments, save_config_callback=None, seed_everything_default=False,
            auto_configure_optimizers=False,
        )  # fmt: skip
        return {"weights": subject.weights(), "step": cli.trainer.global_step}

    compare(play)
