"""Files that are broken, foreign or meant to do harm: an error that names them, and nothing is run or changed."""

from __future__ import annotations

import builtins
import copy
import io
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from zae_engine.trainer import Trainer
from zae_engine.trainer.addons import StateManagerAddon


class Saving(Trainer.add_on(StateManagerAddon)):
    def train_step(self, batch):
        return {"loss": self.model(batch[0]).square().mean()}

    test_step = train_step


def make(folder, save_format="ckpt", width=4):
    torch.manual_seed(len(str(folder)) + width)
    model = torch.nn.Linear(width, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 5)
    return Saving(
        model, "cpu", optimizer=optimizer, scheduler=scheduler, save_path=folder, save_format=save_format, log_bar=False
    )


class Harm:
    """Its pickle makes a folder when it is read by a reader that obeys."""

    def __init__(self, path, call=os.mkdir):
        self.path, self.call = str(path), call

    def __reduce__(self):
        return self.call, (self.path,)


def pickled(value, protocol=2):
    return pickle.dumps(value, protocol=protocol)


def torch_saved(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def zip_with(name, data, original):
    """Return a zip file of torch's with one entry replaced."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(original)) as old, zipfile.ZipFile(buffer, "w") as new:
        for entry in old.namelist():
            new.writestr(entry, data if entry.endswith(name) else old.read(entry))
    return buffer.getvalue()


def header(length, text=b""):
    return struct.pack("<Q", length) + text


def safetensor(entry, data=b"\0" * 16):
    text = json.dumps(entry).encode()
    return header(len(text), text) + data


def changed(data, change):
    state = torch.load(io.BytesIO(data), weights_only=True)
    state.pop("writer", None)  # as an earlier version wrote it: a file with this key ends with its checksum
    return torch_saved(change(state) or state)


def changed_zae(data, change):
    state = pickle.loads(data)
    return pickled(change(state) or state)


def put(state, *path):
    *keys, value = path
    for key in keys[:-1]:
        state = state[key]
    state[keys[-1]] = value


ANY = {
    "empty": lambda data, folder: b"",
    "one byte": lambda data, folder: data[:1],
    "the first half": lambda data, folder: data[: len(data) // 2],
    "all but the end": lambda data, folder: data[:-7],
    "zeros": lambda data, folder: b"\0" * len(data),
    "noise": lambda data, folder: np.random.default_rng(0).bytes(4096),
    "text": lambda data, folder: b"This is not the file you are looking for.\n" * 10,
    "an HTML page": lambda data, folder: b"<!DOCTYPE html><html><body>404</body></html>",
    "a picture": lambda data, folder: b"\x89PNG\r\n\x1a\n" + bytes(100),
    "a number": lambda data, folder: pickled(3),
    "harm in a pickle": lambda data, folder: pickled(Harm(folder / "harm")),
    "harm in torch's format": lambda data, folder: torch_saved({"weight": Harm(folder / "harm")}),
    "harm by eval": lambda data, folder: pickled(Harm(f"__import__('os').mkdir('{folder / 'harm'}')", builtins.eval)),
    "harm behind a good state": lambda data, folder: pickled({"state": {}, "x": [Harm(folder / "harm")]}, 4),
    "an empty zip": lambda data, folder: b"PK\x05\x06" + bytes(18),
    "nested without end": lambda data, folder: b"\x80\x02" + b"]" * 200_000 + b"a" * 199_999 + b".",
    "memory for nothing": lambda data, folder: b"\x80\x04]r\xff\xff\xff\x7f.",
}
MODEL = {
    "another shape": lambda data, folder: torch_saved({"weight": torch.zeros(1, 7), "bias": torch.zeros(1)}),
    "a tensor less": lambda data, folder: torch_saved({"bias": torch.zeros(1)}),
    "a tensor more": lambda data, folder: changed(data, lambda state: put(state, "more", torch.zeros(3))),
    "a list": lambda data, folder: torch_saved([1, 2]),
    "text for a tensor": lambda data, folder: changed(data, lambda state: put(state, "weight", "all of it")),
    "harm in the zip": lambda data, folder: zip_with("data.pkl", pickled(Harm(folder / "harm")), data),
    "a storage that is cut": lambda data, folder: zip_with("data/0", b"\0", data),
    "half of the weights good": lambda data, folder: changed(data, lambda state: put(state, "bias", torch.zeros(9))),
}
SAFETENSOR = {
    "a header of exabytes": lambda data, folder: header(1 << 62),
    "a header beyond the file": lambda data, folder: header(10_000, b"{}"),
    "a header that is no JSON": lambda data, folder: header(8, b"{nothing"),
    "offsets beyond the file": lambda data, folder: safetensor(
        {"weight": {"dtype": "F32", "shape": [1, 4], "data_offsets": [0, 1 << 40]}}
    ),
    "offsets that overlap": lambda data, folder: safetensor(
        {k: {"dtype": "F32", "shape": [1, 4], "data_offsets": [0, 16]} for k in ("weight", "bias")}
    ),
    "a shape of exabytes": lambda data, folder: safetensor(
        {"weight": {"dtype": "F32", "shape": [1 << 40, 1 << 20], "data_offsets": [0, 16]}}
    ),
    "another shape": lambda data, folder: safetensors.torch.save({"weight": torch.zeros(2), "bias": torch.zeros(1)}),
}
OPTIMIZER = {
    "of another model": lambda data, folder: pickled({"state": {}, "param_groups": [{"params": [0, 1, 2], "lr": 1.0}]}),
    "moments of another shape": lambda data, folder: changed_zae(
        data, lambda state: put(state, "state", 0, "exp_avg", torch.zeros(3, 3))
    ),
    "of another optimizer": lambda data, folder: changed_zae(
        data, lambda state: [group.pop("betas") for group in state["param_groups"]] and None
    ),
    "no groups": lambda data, folder: pickled({"state": {}}),
    "a rate that is text": lambda data, folder: changed_zae(
        data, lambda state: put(state, "param_groups", 0, "lr", "fast")
    ),
    "a list of groups that is a number": lambda data, folder: pickled({"state": {}, "param_groups": 3}),
    "harm among the moments": lambda data, folder: changed_zae(
        data, lambda state: put(state, "state", 0, "exp_avg", Harm(folder / "harm"))
    ),
}
SCHEDULER = {
    "methods": lambda data, folder: changed_zae(data, lambda state: put(state, "step", "no step")),
    "its optimizer": lambda data, folder: changed_zae(data, lambda state: put(state, "optimizer", {"lr": 3})),
    "an epoch that is text": lambda data, folder: changed_zae(data, lambda state: put(state, "last_epoch", "late")),
    "another kind": lambda data, folder: pickled({"factor": 0.1, "patience": 3}),
    "of StepLR": lambda data, folder: pickled(
        {"step_size": 2, "gamma": 0.1, "base_lrs": [0.1], "last_epoch": 2, "_step_count": 3, "_last_lr": [0.1]}
    ),
    "rates that are a number": lambda data, folder: changed_zae(data, lambda state: put(state, "base_lrs", 3)),
}
REST = {
    "another format": lambda data, folder: changed(data, lambda content: put(content, "format", 99)),
    "no state": lambda data, folder: changed(data, lambda content: put(content, "state", None)),
    "progress that is text": lambda data, folder: changed(
        data, lambda content: put(content, "state", "progress", "step", "many")
    ),
    "progress below one": lambda data, folder: changed(
        data, lambda content: put(content, "state", "progress", "epoch", -4)
    ),
    "random states of nothing": lambda data, folder: changed(
        data, lambda content: put(content, "state", "random", [{"torch": 1}])
    ),
    "a random state that is cut": lambda data, folder: changed(
        data, lambda content: put(content, "state", "random", 0, "torch", torch.zeros(8, dtype=torch.uint8))
    ),
    "records that are none": lambda data, folder: changed(
        data, lambda content: put(content, "state", "history", "epochs", [1, 2])
    ),
    "an array of objects": lambda data, folder: changed(
        data,
        lambda content: put(
            content, "state", "results", {"__zae__": "array", "dtype": "O", "shape": [1], "data": b"12345678"}
        ),
    ),
    "an epoch without a loss": lambda data, folder: changed(
        data, lambda content: put(content, "state", "ending", {"record": {}})
    ),
    "harm for a callback": lambda data, folder: zip_with("data.pkl", pickled(Harm(folder / "harm")), data),
}
CASES = [
    *(("model.ckpt", name, break_it) for name, break_it in {**ANY, **MODEL}.items()),
    *(("model.safetensor", name, break_it) for name, break_it in {**ANY, **SAFETENSOR}.items()),
    *(("optimizer.zae", name, break_it) for name, break_it in {**ANY, **OPTIMIZER}.items()),
    *(("scheduler.zae", name, break_it) for name, break_it in {**ANY, **SCHEDULER}.items()),
    *(("trainer.zae", name, break_it) for name, break_it in {**ANY, **REST}.items()),
]


def all_of(trainer):
    """Return everything that loading could change, as text."""
    records = [trainer.history[:], trainer.history.steps(), trainer.weight_buffer, trainer.train_metrics]
    parts = [trainer.model.state_dict(), trainer.optimizer.state_dict(), trainer.scheduler.state_dict()]
    counts = [
        trainer.progress_checker,
        trainer.loss_buffer,
        trainer.saved_loss,
        trainer._zae_state.records.lightning_progress,
    ]
    return repr([records, parts, counts, torch.get_rng_state().tolist(), np.random.get_state()[1].tolist()])


@pytest.mark.parametrize(("file", "name", "break_it"), CASES, ids=[f"{file}-{name}" for file, name, _ in CASES])
def test_a_broken_file_is_named_runs_nothing_and_changes_nothing(tmp_path, file, name, break_it):
    save_format = "safetensor" if "safetensor" in file else "ckpt"
    folder = tmp_path / "saved"
    trainer = make(folder, save_format)
    trainer.run(2, [torch.ones(3, 4)] * 2)
    path = folder / file
    path.write_bytes(break_it(path.read_bytes(), tmp_path))
    if file != "trainer.zae":  # or it would be told from the others by its checksum
        (folder / "trainer.zae").unlink()
    other = make(folder, save_format)
    other.run(1, [torch.full((2, 4), 0.5)])  # it has something to lose, and saves it
    path.write_bytes(break_it((folder / file).read_bytes(), tmp_path))
    if file != "trainer.zae":
        (folder / "trainer.zae").unlink()
    before = all_of(other)
    with pytest.raises(ValueError, match=file.replace(".", r"\.")) as caught:
        other.load_state()
    assert "Nothing has been loaded" in str(caught.value)
    assert len(str(caught.value)) < 900
    assert all_of(other) == before
    assert not (tmp_path / "harm").exists()
    other.run(1, [torch.ones(3, 4)])  # and works
    assert other.progress_checker.get_epoch() == 3


@pytest.mark.parametrize("name", [*ANY, *MODEL])
def test_apply_weights_of_a_broken_file_changes_nothing(tmp_path, name):
    trainer = make(tmp_path)
    torch.save(trainer.model.state_dict(), tmp_path / "weights.pt")
    path = tmp_path / "weights.pt"
    path.write_bytes({**ANY, **MODEL}[name](path.read_bytes(), tmp_path))
    before = copy.deepcopy(trainer.model.state_dict())
    with pytest.raises(ValueError, match=r"weights\.pt"):
        trainer.apply_weights(str(path))
    assert repr(trainer.model.state_dict()) == repr(before)
    assert not (tmp_path / "harm").exists()


CHECKPOINT = {
    **ANY,
    "no weights": lambda data, folder: torch_saved({"epoch": 3}),
    "weights of another model": lambda data, folder: changed(
        data, lambda state: put(state, "state_dict", {"model.weight": torch.zeros(9)})
    ),
    "a state of another format": lambda data, folder: changed(
        data, lambda state: put(state, "zae_engine", "format", 12)
    ),
    "no history": lambda data, folder: changed(data, lambda state: state["zae_engine"].pop("history") and None),
    "harm in the zip": lambda data, folder: zip_with("data.pkl", pickled(Harm(folder / "harm")), data),
}


@pytest.mark.parametrize("name", CHECKPOINT)
def test_a_broken_checkpoint_is_named_runs_nothing_and_changes_nothing(tmp_path, name):
    trainer = make(tmp_path / "saved")
    trainer.callbacks.append(ModelCheckpoint(tmp_path, "last"))
    trainer.run(1, [torch.ones(3, 4)])
    path = Path(tmp_path, "last.ckpt")
    path.write_bytes(CHECKPOINT[name](path.read_bytes(), tmp_path))
    before = all_of(trainer)
    with pytest.raises(ValueError, match=r"last\.ckpt"):
        trainer.run(1, [torch.ones(3, 4)], ckpt_path=path)
    assert all_of(trainer) == before
    assert not (tmp_path / "harm").exists()


def test_a_checkpoint_that_is_missing_or_a_folder_is_told(tmp_path):
    trainer = make(tmp_path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        trainer.run(1, [torch.ones(3, 4)], ckpt_path=tmp_path / "nowhere.ckpt")
    with pytest.raises(ValueError, match="is a folder"):
        trainer.run(1, [torch.ones(3, 4)], ckpt_path=tmp_path)
    with pytest.raises(ValueError, match='ckpt_path="last" needs a ModelCheckpoint'):
        trainer.run(1, [torch.ones(3, 4)], ckpt_path="last")


def test_the_reader_that_obeys_would_have_done_harm(tmp_path):
    """The poison works: it is the reading here that runs nothing."""
    pickle.loads(pickled(Harm(tmp_path / "harm")))
    assert (tmp_path / "harm").exists()
