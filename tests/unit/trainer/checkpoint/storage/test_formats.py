"""Formats: reading a state file runs no code from it."""

from __future__ import annotations

import os
import pickle
from collections import Counter, OrderedDict, deque

import numpy as np
import pytest
import torch

from zae_engine.trainer.checkpoint import weights
from zae_engine.trainer.checkpoint.storage import formats


class Evil:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return os.system, (f"touch {self.file}",)


class EvilStorage:
    """Hides a poisoned pickle where torch keeps the bytes of a tensor."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        import io

        hidden = io.BytesIO()
        torch.save(Evil(self.file), hidden)
        return torch.storage._load_from_bytes, (hidden.getvalue(),)


class Changing:
    """Has the reader call a function of torch's, and the BUILD instruction change it."""

    def __init__(self, module, name, state):
        text = f"c{module}\n{name}\n".encode()
        self.pickle = b"\x80\x02" + text + pickle.dumps(state, 2)[2:-1] + b"b."


@pytest.mark.parametrize(
    "function",
    [("torch._utils", "_rebuild_tensor_v2"), ("torch.storage", "_load_from_bytes"), ("collections", "Counter"),
     ("collections", "OrderedDict"), ("torch", "device"), ("numpy", "dtype")],
)  # fmt: skip
@pytest.mark.parametrize("state", [(None, {"__defaults__": ("poison",)}), {"poison": 1}, (None, {"_call": print})])
def test_a_file_cannot_change_what_it_calls(tmp_path, function, state):
    (tmp_path / "optimizer.zae").write_bytes(Changing(*function, state).pickle)
    with pytest.raises(ValueError, match="is no saved state"):
        formats.read_zae(tmp_path / "optimizer.zae")
    assert torch._utils._rebuild_tensor_v2.__defaults__ != ("poison",)
    assert not hasattr(torch.storage._load_from_bytes, "poison")
    assert not hasattr(__import__("collections").Counter, "poison")


def test_a_small_file_cannot_ask_for_much_memory_or_time(tmp_path):
    bomb: list = []
    for _ in range(40):
        bomb = [bomb] * 10
    (tmp_path / "shared.zae").write_bytes(pickle.dumps({"a": bomb}))
    assert len(formats.read_zae(tmp_path / "shared.zae")["a"]) == 10
    (tmp_path / "memo.zae").write_bytes(b"\x80\x02}r\xff\xff\xff\x0f.")
    with pytest.raises(ValueError, match="more memory than it can need"):
        formats.read_zae(tmp_path / "memo.zae")


@pytest.mark.parametrize("evil", [Evil, EvilStorage])
def test_a_poisoned_pickle_is_refused_and_not_run(tmp_path, evil):
    (tmp_path / "optimizer.zae").write_bytes(pickle.dumps({"state": evil(tmp_path / "ran")}))
    with pytest.raises(ValueError, match=r"optimizer.zae' is no saved state"):
        formats.read_zae(tmp_path / "optimizer.zae")
    torch.save({"weight": evil(tmp_path / "ran")}, tmp_path / "model.ckpt")
    with pytest.raises(ValueError, match=r"model.ckpt' is no ckpt file of weights"):
        weights.read(tmp_path / "model.ckpt", "ckpt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "content", [b"", b"\x80", b"text", b"\x00" * 100, pickle.dumps([1, 2]), pickle.dumps({"a": 1})[:-3], b"\xff" * 16]
)
def test_what_is_no_state_file_gives_an_error_that_names_it(tmp_path, content):
    file = tmp_path / "state"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"state' is no saved state"):
        formats.read_zae(file)
    for save_format in formats.FORMATS:
        with pytest.raises(ValueError, match=rf"state' is no {save_format} file"):
            weights.read(file, save_format)


def test_states_of_all_kinds_come_back(tmp_path):
    state = {
        "state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.randn(2, 3), "mask": torch.tensor([True])}},
        "param_groups": [{"lr": 0.1, "betas": (0.9, 0.999), "foreach": None, "params": [0, 1]}],
        "order": OrderedDict(a=1),
        "dtype": torch.bfloat16,
        "nested": {"set": {1, 2}},
        "milestones": Counter({3: 1}),
        "queue": deque([1, 2], maxlen=3),
        "complex": 1 + 2j,
        "numpy": np.float64(0.5),
    }
    formats.write_zae(tmp_path / "s.zae", state)
    back = formats.read_zae(tmp_path / "s.zae")
    assert torch.equal(back["state"][0]["exp_avg"], state["state"][0]["exp_avg"])
    assert back["param_groups"] == state["param_groups"]
    assert back["dtype"] is torch.bfloat16
    for key in ("order", "nested", "milestones", "queue", "complex", "numpy"):
        assert back[key] == state[key]
    assert type(back["milestones"]) is Counter
    assert type(back["numpy"]) is float


def test_numpy_numbers_that_0_7_6_pickled_are_read(tmp_path):
    (tmp_path / "s.zae").write_bytes(pickle.dumps({"lr": np.float64(0.25), "n": np.int64(7), "f": np.float32(0.5)}))
    assert formats.read_zae(tmp_path / "s.zae") == {"lr": 0.25, "n": 7, "f": 0.5}


def test_a_state_that_is_no_tensors_needs_the_other_format(tmp_path):
    with pytest.raises(TypeError, match=r"holds tensors only.*'_extra_state': 'dict'.*\"ckpt\""):
        formats.write_model(tmp_path / "m", {"_extra_state": {"a": 1}}, "safetensor")


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "real")
    formats.write_zae(tmp_path / "link", {"a": 1})
    assert (tmp_path / "link").is_symlink()
    assert formats.read_zae(tmp_path / "real") == {"a": 1}
