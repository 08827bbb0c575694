"""`torch.compile`: files of a compiled model load into the plain one and the other way round."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import callbacks as C
from torch import nn

from zae_engine.trainer.addons import StateManagerAddon

from ..observing import on
from ..players import Player
from ..problem import Classifier, train_loader, valid_loader
from . import situation


def plain() -> nn.Module:
    return nn.Linear(10, 2)


def compiled() -> nn.Module:
    return torch.compile(plain(), backend="eager")


def saved_by_addon(player: Player, model: Any, save_format: str) -> Any:
    given = {"save_path": str(player.folder / save_format), "save_format": save_format}
    subject = player.make(model=model, trainer_class=Classifier.add_on(StateManagerAddon), given=given)
    return subject.fit(1, train_loader(), valid_loader())


@situation(ways=("run",), expected={form: ["bias", "weight"] for form in ("ckpt", "safetensor")})
def names_in_state_files(player: Player) -> dict[str, Any]:
    """State files of a compiled model have the plain model's names."""
    from safetensors.torch import load_file

    found = {}
    for form, load in (("ckpt", torch.load), ("safetensor", load_file)):
        saved_by_addon(player, compiled, form)
        found[form] = sorted(load(player.folder / form / f"model.{form}"))
    return found


@situation(ways=("run",), expected={"compiled to plain": True, "plain to compiled": True})
def state_files_exchanged(player: Player) -> dict[str, Any]:
    """State files of a compiled model load into the plain one, and the other way round."""
    found = {}
    for name, source, target in (("compiled to plain", compiled, plain), ("plain to compiled", plain, compiled)):
        folder = player.folder / name
        cls = Classifier.add_on(StateManagerAddon)
        first = player.make(model=source, trainer_class=cls, given={"save_path": str(folder)})
        first.fit(1, train_loader(), valid_loader())
        second = player.make(model=target, trainer_class=cls, given={"save_path": str(folder)}, seed=9)
        try:
            second.facade.load_state()
        except Exception as error:
            found[name] = f"{type(error).__name__}: {str(error)[:150]}"
        else:
            pairs = zip(first.model.parameters(), second.model.parameters(), strict=True)
            found[name] = all(torch.equal(a, b) for a, b in pairs)
    return found


@situation
def training_a_compiled_model(player: Player) -> dict[str, Any]:
    """A compiled model trains as the plain one."""
    subject = player.make(model=compiled, callbacks=[C.Callback()]).fit(2, train_loader(), valid_loader())
    return {"weights": list(subject.weights().values()), "results": subject.results()}


@situation
def compiled_by_a_callback(player: Player) -> dict[str, Any]:
    """A model that a callback compiles in `setup` is called, and trains as the plain one."""
    calls: list[int] = []

    def backend(graph: Any, inputs: Any) -> Any:
        calls.append(1)
        return graph.forward

    def compile_model(trainer: Any, module: Any, stage: str) -> None:
        module.model = torch.compile(module.model, backend=backend)

    subject = player.make(callbacks=[on("setup", compile_model)]).fit(1, train_loader())
    return {"compiled": len(calls) > 0, "weights": subject.weights()}


@situation(ways=("own_trainer",))
def module_compiled(player: Player) -> dict[str, Any]:
    """`torch.compile(trainer.lightning_module)` is fitted by an `L.Trainer`."""
    subject = player.make()
    subject.module = torch.compile(subject.module, backend="eager")
    subject.fit(2, train_loader(), valid_loader())
    return {"weights": subject.weights(), "results": subject.results()}


@situation
def best_weights_of_a_compiled_model(player: Player) -> dict[str, Any]:
    """The best weights of a compiled model can be applied."""
    subject = player.make(model=compiled, callbacks=[C.Callback()]).fit(2, train_loader(), valid_loader())
    if not player.is_reference:
        subject.facade.apply_weights()
        return {"applied": list(subject.weights().values())}
    return {"applied": list(subject.best_weights().values())}
