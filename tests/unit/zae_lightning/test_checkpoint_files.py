"""Checkpoint files: the last checkpoint of a process before, plugins, and file systems of fsspec."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from zae_lightning import find_last_checkpoint, has_checkpoint_plugin, read_checkpoint_file


class Wrapping(TorchCheckpointIO):
    """Writes files that only it can read."""

    def load_checkpoint(self, path, *args, **kwargs):
        return super().load_checkpoint(path, *args, **kwargs)["wrapped"]


def test_the_last_checkpoint_of_another_trainer_in_the_same_folder(make, loader, tmp_path):
    make(callbacks=[ModelCheckpoint(tmp_path, save_last=True)]).run(1, loader)
    assert find_last_checkpoint(make(callbacks=[ModelCheckpoint(tmp_path, save_last=True)])) == f"{tmp_path}/last.ckpt"


def test_without_a_file_lightning_warns(make, tmp_path):
    trainer = make(callbacks=[ModelCheckpoint(tmp_path, save_last=True)])
    with pytest.warns(UserWarning, match="no last checkpoint available"):
        assert find_last_checkpoint(trainer) is None


@pytest.mark.parametrize(
    ("plugins", "expected"),
    [(None, False), ([], False), ("ddp", False), (Wrapping(), True), ([Wrapping()], True), ((1, Wrapping()), True)],
)
def test_plugins_for_checkpoints(plugins, expected):
    assert has_checkpoint_plugin({"plugins": plugins}) is expected


def test_a_plugin_reads(make, tmp_path):
    torch.save({"wrapped": {"state_dict": {"a": 1}}}, tmp_path / "a.ckpt")
    trainer = make(lightning={"plugins": [Wrapping()]})
    assert read_checkpoint_file(trainer, str(tmp_path / "a.ckpt")) == {"state_dict": {"a": 1}}


def test_a_file_system_of_fsspec_is_read(make):
    import fsspec

    with fsspec.open("memory://zae-engine-unit/a.ckpt", "wb") as file:
        torch.save({"a": 1}, file)
    assert read_checkpoint_file(make(), "memory://zae-engine-unit/a.ckpt") == {"a": 1}
