"""States, checkpoints and histories that an earlier version wrote: they load, and training continues to the bit.

``data/make.py`` says how the files were written, and ``data/scenario.py`` what is compared.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import lightning.pytorch as L
import pytest
import torch

from zae_engine.trainer import History

from .data.scenario import CHECKPOINTS, FOLDERS, build_loaders, build_trainer, continue_training, records

DATA = Path(__file__).with_name("data")
EXPECTED = json.loads((DATA / "expected.json").read_text())
KEYS = {
    *("format", "progress", "counts", "best", "history", "results", "random", "generators", "scaler", "feed"),
    *("ending", "underway", "saved_loss"),
}


@pytest.fixture
def folder(tmp_path):
    with tarfile.open(DATA / "states.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path


@pytest.mark.parametrize("name", [*FOLDERS, *CHECKPOINTS])
def test_training_continues_as_with_the_version_that_wrote_the_file(folder, name):
    outcome = json.loads(json.dumps(continue_training(name, folder)))
    assert outcome.keys() == EXPECTED[name].keys()
    for key, value in EXPECTED[name].items():
        assert outcome[key] == value, key


@pytest.mark.parametrize("name", FOLDERS)
def test_the_next_save_leaves_its_own_files_only(folder, name):
    continue_training(name, folder)
    model = "model.safetensor" if name == "safetensor" else "model.ckpt"
    left = sorted(path.name for path in (folder / name).iterdir())
    assert left == [model, "optimizer.zae", "scheduler.zae", "trainer.zae"]


def test_an_l_trainer_of_the_users_own_reads_a_checkpoint(folder):
    trainer = build_trainer("end_of_epoch", folder, seed=1)
    off = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    lightning_trainer = L.Trainer(accelerator="cpu", max_epochs=3, **off)
    lightning_trainer.fit(
        trainer.lightning_module, *build_loaders("end_of_epoch"), ckpt_path=folder / "end_of_epoch.ckpt"
    )
    epochs, start = records(trainer)["epochs"], EXPECTED["end_of_epoch"]["start"]
    assert epochs[:2] == start["epochs"]
    assert trainer.progress_checker.get_epoch() == start["progress"][0] + 1
    assert epochs[2] == EXPECTED["end_of_epoch"]["end"]["epochs"][2]


def test_a_history_is_read_as_it_was_written(folder):
    history = History.load(folder / "history.json")
    assert list(history) == EXPECTED["history"]["records"]
    assert {mode: history.steps(mode) for mode in ("train", "test")} == EXPECTED["history"]["losses"]


# What the files hold, so that the tests above are known to read every key of the format


@pytest.mark.parametrize(
    ("file", "present"),
    [
        ("ckpt", {"ending"}),
        ("safetensor", {"generators"}),
        ("stopped_by_sigterm", {"ending"}),
        ("stopped_by_sigterm/stopped", {"underway"}),
        ("killed_while_writing", {"ending"}),
        ("killed_after_commit", {"ending"}),
        ("killed_after_commit/.saved", {"ending"}),
        ("end_of_epoch.ckpt", set()),
        ("after_validation.ckpt", {"ending"}),
        ("mid_epoch.ckpt", {"underway"}),
    ],
)
def test_the_files_hold_every_key_of_the_format(folder, file, present):
    if file.endswith(".ckpt"):
        state = torch.load(folder / file, weights_only=True)["zae_engine"]
    else:
        content = torch.load(folder / file / "trainer.zae", weights_only=True)
        assert content.keys() == {"format", "files", "state"}
        state = content["state"]
        assert any(key.startswith("EarlyStopping") for key in state["checkpoint"]["callbacks"])
        assert "StateCheckpoint" in state["checkpoint"]["callbacks"]
    assert state.keys() - {"checkpoint"} == KEYS
    assert state["feed"]["step"] > 0
    assert {key for key in ("ending", "underway", "generators") if state[key]} == present


def test_weights_that_are_saved_once_are_referred_to(folder):
    """`best` and what callbacks see as `state_dict` are words in the file, where they are the model's weights."""
    state = torch.load(folder / "ckpt/trainer.zae", weights_only=True)["state"]
    assert state["best"]["weights"] == "those of the model"
    assert state["checkpoint"]["state_dict"] == "the weights of the model"


def test_the_folders_hold_saves_in_every_stage(folder):
    names = {"model.ckpt", "optimizer.zae", "scheduler.zae", "trainer.zae"}
    assert {path.name for path in (folder / "stopped_by_sigterm/stopped").iterdir()} == names
    assert {path.name for path in (folder / "killed_after_commit/.saved").iterdir()} == names
    (staged,) = (folder / "killed_while_writing").glob(".saving-*")
    assert [path.name for path in staged.iterdir()] == ["model.ckpt"]
