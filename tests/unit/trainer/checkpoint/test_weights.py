"""Weights: copies that training does not change, files that are read, and models that change completely or not."""

from __future__ import annotations

import pytest
import safetensors.torch
import torch
from torch import nn

from zae_engine.trainer.checkpoint import weights
from zae_engine.trainer.checkpoint.storage import formats


def equal(model, state):
    return all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


class WithExtraState(nn.Linear):
    def __init__(self):
        super().__init__(2, 2)
        self.extra = {"list": [1]}

    def get_extra_state(self):
        return self.extra

    def set_extra_state(self, state):
        self.extra = state


def test_a_copy_does_not_change_with_the_model():
    model = WithExtraState()
    copied = weights.clone_state_dict(model)
    before = {key: value.clone() for key, value in model.state_dict().items() if isinstance(value, torch.Tensor)}
    with torch.no_grad():
        model.weight.zero_()
    model.extra["list"].append(2)
    assert torch.equal(copied["weight"], before["weight"])
    assert copied["_extra_state"] == {"list": [1]}


def test_a_copy_and_a_file_keep_the_versions_of_modules(tmp_path):
    class Versioned(nn.Linear):
        _version = 3

        def _load_from_state_dict(self, state_dict, prefix, local_metadata, *args):
            assert local_metadata.get("version") == 3, "torch takes a state without a version for an old one"
            super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)

    model = Versioned(2, 2)
    assert weights.clone_state_dict(model)._metadata == model.state_dict()._metadata
    weights.apply(model, {"weight": [weights.clone_state_dict(model)]}, None, strict=True)
    formats.write_model(tmp_path / "model.ckpt", model.state_dict(), "ckpt")
    weights.apply(model, {}, str(tmp_path / "model.ckpt"), strict=True)


def test_uninitialized_lazy_modules_have_no_values():
    model = nn.Sequential(nn.Linear(2, 2), nn.LazyLinear(2), nn.LazyBatchNorm1d())
    assert set(weights.clone_state_dict(model)) == {"0.weight", "0.bias", "2.num_batches_tracked"}


def test_a_copy_leaves_the_models_own_dict_alone():
    class Own(nn.LazyLinear):
        def state_dict(self, *args, **kwargs):
            if not hasattr(self, "kept"):
                self.kept = super().state_dict(*args, **kwargs)
            return self.kept

    model = Own(2)
    weights.clone_state_dict(model)
    assert set(model.kept) == {"weight", "bias"}


@pytest.mark.parametrize(("save_format", "suffix"), [("ckpt", "pt"), ("safetensor", "safetensors")])
def test_a_file_is_read_and_applied(tmp_path, save_format, suffix):
    saved, model = nn.Linear(3, 2), nn.Linear(3, 2)
    file = str(tmp_path / f"model.{suffix}")
    save = torch.save if save_format == "ckpt" else safetensors.torch.save_file
    save(saved.state_dict(), file)
    assert equal(saved, weights.read(file, save_format))
    weights.apply(model, {}, file, strict=True)
    assert equal(model, saved.state_dict())


def test_a_file_that_holds_no_dict_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match=r"list\.pt' is no ckpt file of weights .*it holds a list"):
        weights.read(tmp_path / "list.pt")
    with pytest.raises(FileNotFoundError):
        weights.read(tmp_path / "missing.pt")


def test_the_last_weights_of_the_buffer_are_applied():
    first, last, model = nn.Linear(3, 2), nn.Linear(3, 2), nn.Linear(3, 2)
    weights.apply(model, {"weight": [first.state_dict(), last.state_dict()]}, None, strict=True)
    assert equal(model, last.state_dict())


def test_an_empty_buffer_prints_and_a_missing_file_is_an_error_and_both_change_nothing(tmp_path, capsys):
    model = nn.Linear(3, 2)
    before = weights.clone_state_dict(model)
    weights.apply(model, {}, None, strict=True)
    assert "no weight in buffer" in capsys.readouterr().out
    for name in ("missing.pt", "missing.safetensor"):
        with pytest.raises(FileNotFoundError, match=name):
            weights.apply(model, {}, str(tmp_path / name), strict=True)
    assert equal(model, before)


@pytest.mark.parametrize("from_file", [False, True])
def test_weights_of_another_model_change_nothing(tmp_path, from_file):
    class Pair(nn.Module):
        def __init__(self, n):
            super().__init__()
            self.first, self.second = nn.Linear(3, 2), nn.Linear(2, n)

    model, other = Pair(2), Pair(5)
    before = weights.clone_state_dict(model)
    file = str(tmp_path / "other.pt")
    torch.save(other.state_dict(), file)
    for kind in (ValueError, RuntimeError, weights.IncompatibleStateError):
        with pytest.raises(kind, match=r"not fit the model .*Nothing has been loaded") as caught:
            weights.apply(model, {"weight": [other.state_dict()]}, file if from_file else None, strict=True)
    assert ("other.pt" in str(caught.value)) == from_file
    assert equal(model, before)


def test_missing_keys_are_accepted_where_the_user_says_so():
    model, saved = nn.Linear(3, 2), nn.Linear(3, 2, bias=False)
    bias = model.bias.detach().clone()
    weights.apply(model, {"weight": [saved.state_dict()]}, None, strict=False)
    assert torch.equal(model.weight, saved.weight)
    assert torch.equal(model.bias, bias)


class Nested(torch.nn.Module):
    """Contains a module that may be compiled."""

    def __init__(self, is_compiled):
        super().__init__()
        inner = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
        self.inner = torch.compile(inner, backend="eager") if is_compiled else inner


def compiled(is_compiled):
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    return torch.compile(model, backend="eager") if is_compiled else model


@pytest.mark.parametrize("build", [Nested, compiled])
def test_names_without_compilation_and_with_it(build):
    plain, other = build(False), build(True)
    state = weights.plain_state_dict(other)
    assert list(state) == list(plain.state_dict())
    assert state._metadata.keys() == plain.state_dict()._metadata.keys()
    plain.load_state_dict(state)
    for model in (plain, other):
        for given in (plain.state_dict(), other.state_dict()):
            model.load_state_dict(weights.names_of(model, given))
    assert weights.names_of(plain, state) is state
    assert weights.names_of(object(), state) is state


def test_a_sharded_model_is_saved_whole_and_loads_whole_weights(device_mesh, tmp_path):
    from torch.distributed.fsdp import fully_shard

    model = fully_shard(nn.Linear(3, 2), mesh=device_mesh["data_parallel"])
    weights.save(model, tmp_path / "model.pt", is_writer=True)
    weights.save(model, tmp_path / "other.pt", is_writer=False)
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    assert type(state["weight"]) is torch.Tensor
    assert not (tmp_path / "other.pt").exists()
    other = fully_shard(nn.Linear(3, 2), mesh=device_mesh["data_parallel"])
    weights.apply(other, {}, tmp_path / "model.pt", strict=True)
    assert torch.equal(other.weight.full_tensor(), state["weight"])
    with pytest.raises(ValueError, match="do not fit the model"):
        weights.apply(other, {"weight": [{"weight": torch.ones(5, 5)}]}, None, strict=True)
    assert torch.equal(other.weight.full_tensor(), state["weight"])
    assert weights.for_sharded_model(nn.Linear(3, 2), state) is state
