"""Mixed precision: what is chosen, and that it computes what torch's autocast computes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tests.conftest import Classifier
from zae_engine.trainer.addons import PrecisionMixerAddon
from zae_engine.trainer.addons.mix_precision import _best, _first_possible

Mixed = Classifier.add_on(PrecisionMixerAddon)
CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")


class Seeing(Mixed):
    seen: tuple = ()

    def train_step(self, batch):
        output = self.model(batch[0])
        self.seen = (*self.seen, output.dtype)
        return {"loss": F.cross_entropy(output, batch[1])}


class SeeingBatch(Seeing):
    def run_batch(self, batch, **kwargs):
        super().run_batch(batch, **kwargs)


@pytest.mark.parametrize("cls", [Seeing, SeeingBatch])
@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_forward_passes_have_the_precision_in_and_outside_a_run(make, loader, cls, precision, dtype):
    trainer = make(cls, precision=precision)
    assert trainer.precision == [precision]
    assert trainer.scaler is None
    trainer.run(1, loader)
    trainer.run_batch(next(iter(loader)))
    assert trainer.seen == (dtype,) * 4
    assert trainer.model.weight.dtype == trainer.model.weight.grad.dtype == torch.float32


@pytest.mark.parametrize("cls", [Seeing, SeeingBatch])
def test_bf16_with_clipping_is_a_hand_written_loop_to_the_bit(make, dataset, cls):
    model = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 2))
    twin = copy.deepcopy(model)
    loader = torch.utils.data.DataLoader(dataset, 8)
    trainer = make(cls, model=model, precision="bf16", gradient_clip=0.05)
    trainer.run(2, loader)
    optimizer = torch.optim.SGD(twin.parameters(), lr=0.1)
    for _ in range(2):
        for x, y in loader:
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16):
                loss = F.cross_entropy(twin(x), y)
            loss.backward()
            nn.utils.clip_grad_norm_(twin.parameters(), 0.05)
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), twin.parameters(), strict=True))


@pytest.mark.parametrize("precision", ["auto", "fp16", ["fp16"]])
def test_what_needs_a_gpu_is_refused_on_the_cpu(make, precision):
    with pytest.raises(ValueError, match=r"requires at least one GPU device to function\..*needs a GPU"):
        make(Mixed, precision=precision)
    with pytest.raises(ValueError, match=r"requires at least one GPU device to function\..*needs a GPU"):
        make(Mixed, precision=precision, device=["cpu", "cpu"])


@pytest.mark.parametrize("precision", ["float16", 16, [], ["bf16", "int8"], None])
def test_what_is_no_precision(make, precision):
    with pytest.raises(ValueError, match="is not known: accepted are"):
        make(Mixed, precision=precision)


@pytest.mark.parametrize(
    ("priorities", "device", "chosen"),
    [
        (["fp16", "bf16"], CPU, "bf16"),
        (["fp16", "fp32"], CPU, "fp32"),
        (["bf16", "fp16"], CPU, "bf16"),
        (["fp16", "bf16"], CUDA, "fp16"),
        (["fp32", "fp16"], CUDA, "fp32"),
    ],
)
def test_a_list_is_one_of_priorities(priorities, device, chosen):
    assert _first_possible(priorities, device) == chosen


@pytest.mark.parametrize(
    ("capability", "expected"), [((9, 0), ["bf16", "fp16"]), ((8, 0), ["bf16", "fp16"]), ((7, 5), ["fp16"])]
)
def test_auto_goes_by_the_generation_of_the_gpu(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert _best(CUDA) == expected


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.parametrize("cls", [Seeing, SeeingBatch])
def test_fp16_scales_the_loss_and_clips_unscaled_gradients(make, loader, cls):
    trainer = make(cls, precision="fp16", device="cuda", gradient_clip=0.01)
    trainer.run(2, loader)
    assert set(trainer.seen) == {torch.float16}
    assert trainer.scaler.get_scale() > 1
    norm = torch.sqrt(sum(p.grad.square().sum() for p in trainer.model.parameters()))
    assert norm <= 0.0101
