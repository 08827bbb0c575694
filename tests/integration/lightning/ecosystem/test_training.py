"""Training: the fine-tuning scheduler, schedule-free optimizers, LoRA, ONNX."""

from __future__ import annotations

from typing import Any

import pytest
import schedulefree
import torch
from finetuning_scheduler import FinetuningScheduler
from peft import LoraConfig, get_peft_model
from torch import nn

from ..conformance.observing import on
from ..conformance.players import Player, tensors_of
from ..conformance.problem import WithNorm, train_loader, valid_loader
from ..conformance.situations.module_as_object import WithExample
from ..conformance.situations.unusual_optimizers import SwitchesModes


def deep() -> nn.Module:
    return nn.Sequential(nn.Linear(10, 8), nn.Tanh(), nn.Linear(8, 2))


def last_layer(parameters: Any) -> torch.optim.Optimizer:
    """Return an optimizer of all parameters, as the fine-tuning scheduler expects it before it thaws."""
    return torch.optim.AdamW(list(parameters), lr=0.01)


SCHEDULE = """
0:
  params: ["model.head.weight", "model.head.bias"]
  max_transition_epoch: 1
1:
  params: ["model.backbone.1.weight", "model.backbone.1.bias", "model.backbone.0.weight", "model.backbone.0.bias"]
  max_transition_epoch: 3
"""


@pytest.mark.parametrize("epoch_driven", [True, False])
def test_the_finetuning_scheduler_thaws_layer_by_layer(compare: Any, epoch_driven: bool):
    def play(player: Player) -> dict[str, Any]:
        (player.folder / "schedule.yaml").write_text(SCHEDULE)
        scheduler = FinetuningScheduler(
            ft_schedule=str(player.folder / "schedule.yaml"), epoch_transitions_only=epoch_driven, max_depth=1
        )
        seen: list[Any] = []
        note = on(
            "on_train_epoch_start",
            lambda trainer, module: seen.append([p.requires_grad for p in module.model.parameters()]),
        )
        subject = player.make(model=WithNorm, optimizer=last_layer, callbacks=[scheduler, note])
        subject.fit(4, train_loader(), valid_loader())
        return {"seen": seen, "depth": scheduler.curr_depth, "weights": subject.weights()}

    compare(play)


def test_a_schedule_free_optimizer_is_switched_with_the_phases(compare: Any):
    def play(player: Player) -> dict[str, Any]:
        optimizer = lambda parameters: schedulefree.AdamWScheduleFree(parameters, lr=0.05)  # noqa: E731
        subject = player.make(optimizer=optimizer, module_class=SwitchesModes)
        subject.fit(3, train_loader(), valid_loader())
        return {"val_loss": subject.results()["val_loss"], "weights": subject.weights()}

    compare(play)


def test_lora_that_a_callback_puts_in_place_is_trained(compare: Any):
    def play(player: Player) -> dict[str, Any]:
        wrapped: list[Any] = []

        def wrap(trainer: Any, module: Any) -> None:
            torch.manual_seed(5)
            module.model = get_peft_model(module.model, LoraConfig(target_modules=["0"], r=2))
            adapters = [p for name, p in module.model.named_parameters() if "lora" in name]
            trainer.optimizers[0].add_param_group({"params": adapters, "lr": 0.5})
            wrapped.append(module.model)

        subject = player.make(model=deep, callbacks=[on("on_train_start", wrap)])
        subject.fit(2, train_loader(), valid_loader())
        return {"weights": tensors_of(wrapped[0]), "val_loss": subject.results()["val_loss"]}

    compare(play)


def test_the_module_is_exported_to_onnx(compare: Any, way: str):
    if way == "run":
        pytest.skip("run has no module of its own")
    import onnx

    def play(player: Player) -> dict[str, Any]:
        subject = player.make(model=WithExample).fit(1, train_loader())
        subject.module.to_onnx("model.onnx", dynamo=False)
        graph = onnx.load("model.onnx").graph
        return {"nodes": [node.op_type for node in graph.node]}

    compare(play)
