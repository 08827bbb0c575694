"""Reading state files runs nothing that stands in them."""

from __future__ import annotations

import os
import pickle
from collections import OrderedDict

import pytest
import torch

from zae_engine.trainer.addons import state_files


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


@pytest.mark.parametrize("evil", [Evil, EvilStorage])
def test_a_poisoned_pickle_is_refused_and_not_run(tmp_path, evil):
    (tmp_path / "optimizer.zae").write_bytes(pickle.dumps({"state": evil(tmp_path / "ran")}))
    with pytest.raises(ValueError, match=r"optimizer.zae' is no saved state"):
        state_files.read_zae(tmp_path / "optimizer.zae")
    torch.save({"weight": evil(tmp_path / "ran")}, tmp_path / "model.ckpt")
    with pytest.raises(ValueError, match=r"model.ckpt' is no ckpt file of weights"):
        state_files.read_model(tmp_path / "model.ckpt", "ckpt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "content", [b"", b"\x80", b"text", b"\x00" * 100, pickle.dumps([1, 2]), pickle.dumps({"a": 1})[:-3], b"\xff" * 16]
)
def test_what_is_no_state_file_gives_an_error_that_names_it(tmp_path, content):
    file = tmp_path / "state"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"state' is no saved state"):
        state_files.read_zae(file)
    for save_format in state_files.FORMATS:
        with pytest.raises(ValueError, match=rf"state' is no {save_format} file"):
            state_files.read_model(file, save_format)


def test_states_of_all_kinds_come_back(tmp_path):
    state = {
        "state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.randn(2, 3), "mask": torch.tensor([True])}},
        "param_groups": [{"lr": 0.1, "betas": (0.9, 0.999), "foreach": None, "params": [0, 1]}],
        "order": OrderedDict(a=1),
        "dtype": torch.bfloat16,
        "nested": {"set": {1, 2}},
    }
    state_files.write_zae(tmp_path / "s.zae", state)
    back = state_files.read_zae(tmp_path / "s.zae")
    assert torch.equal(back["state"][0]["exp_avg"], state["state"][0]["exp_avg"])
    assert back["param_groups"] == state["param_groups"]
    assert back["dtype"] is torch.bfloat16
    assert (back["order"], back["nested"]) == (state["order"], state["nested"])
