"""Best weights under averaging and pruning: what is kept, applied and written is the model that was validated."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import callbacks as C
from torch import nn

from zae_engine.trainer.addons import StateManagerAddon

from ..players import Player, tensors_of
from ..problem import Classifier, WithNorm, train_loader, valid_loader
from . import situation


def deep() -> nn.Module:
    return nn.Sequential(nn.Linear(10, 4), nn.Tanh(), nn.Linear(4, 2))


def best_of(player: Player, callbacks: Any, n_epoch: int = 3, **options: Any) -> dict[str, Any]:
    """Return the weights that are kept of the best epoch, and those that `apply_weights` puts into the model."""
    subject = player.make(callbacks=callbacks, **{"model": deep, **options})
    subject.fit(n_epoch, train_loader(), valid_loader())
    best = subject.best_weights()
    if player.is_reference:
        return {"kept": best, "applied": best}
    subject.facade.apply_weights()
    return {"kept": best, "applied": subject.weights()}


def written(player: Player, callbacks: Any, **options: Any) -> dict[str, Any]:
    """Return what `StateManagerAddon` writes as the model, and what a fresh model loads from it."""
    if player.is_reference:
        subject = player.make(callbacks=callbacks, **{"model": deep, **options}).fit(3, train_loader(), valid_loader())
        return {"written": subject.best_weights(), "loads": True}
    options["trainer_class"] = Classifier.add_on(StateManagerAddon)
    given = {"save_path": str(player.folder / "state")}
    subject = player.make(callbacks=callbacks, given=given, **{"model": deep, **options})
    subject.fit(3, train_loader(), valid_loader())
    file = torch.load(player.folder / "state" / "model.ckpt", weights_only=True)
    fresh = options.get("model", deep)()
    try:
        fresh.load_state_dict(file)
    except RuntimeError as error:
        return {"written": dict(file), "loads": str(error)[:200]}
    return {"written": tensors_of(fresh), "loads": True}


@situation
def plain(player: Player) -> dict[str, Any]:
    """The best weights are those that were validated."""
    return best_of(player, [C.Callback()])


@situation
def moving_averages(player: Player) -> dict[str, Any]:
    """With `EMAWeightAveraging`, the best weights are the averages that were validated."""
    return best_of(player, [C.EMAWeightAveraging(decay=0.5)])


@situation
def moving_averages_with_batch_norm(player: Player) -> dict[str, Any]:
    """With averages and batch norm, the best weights are what was validated, buffers included."""
    return best_of(player, [C.EMAWeightAveraging(decay=0.5)], model=WithNorm)


@situation
def averages_that_start_late(player: Player) -> dict[str, Any]:
    """With averages that start in the second epoch, the best weights are what was validated."""
    return best_of(player, [C.EMAWeightAveraging(decay=0.5, update_starting_at_epoch=1)])


@situation
def state_manager_with_averages(player: Player) -> dict[str, Any]:
    """`StateManagerAddon` writes the averages as the model."""
    return written(player, [C.EMAWeightAveraging(decay=0.5)])


@situation
def checkpoints_with_averages(player: Player) -> dict[str, Any]:
    """A checkpoint has the averages as its state, and what is needed to go on beside them."""
    save = C.ModelCheckpoint(player.folder / "saved", "{epoch}", monitor="val_loss")
    averaging = C.EMAWeightAveraging(decay=0.5)
    player.make(model=deep, callbacks=[averaging, save]).fit(3, train_loader(), valid_loader())
    saved = torch.load(save.best_model_path, weights_only=False)
    return {"state": dict(saved["state_dict"]), "current": dict(saved["current_model_state"])}


@situation
def resuming_with_averages(player: Player) -> dict[str, Any]:
    """A run with averages that is resumed ends with the same weights."""

    def make(name: str, seed: int) -> tuple[Any, Any]:
        save = C.ModelCheckpoint(player.folder / name, "last")
        averaging = C.EMAWeightAveraging(decay=0.5)
        options = {"model": deep, "optimizer": torch.optim.Adam, "callbacks": [averaging, save], "seed": seed}
        return player.make(**options), save

    first, save = make("a", 1)
    first.fit(2, train_loader(), valid_loader())
    second, _ = make("b", 2)
    second.fit(1, train_loader(), valid_loader(), ckpt_path=save.best_model_path, after=2)
    return {"weights": second.weights(), "results": second.results()}


def pruned(model: nn.Module) -> list[Any]:
    parts = [(model[0], "weight"), (model[2], "weight")]
    return [C.ModelPruning("l1_unstructured", parts, amount=0.5, use_lottery_ticket_hypothesis=False)]


@situation
def pruning(player: Player) -> dict[str, Any]:
    """The best weights of a model that is pruned can be loaded afterwards."""
    subject = player.make(model=deep, callbacks=pruned).fit(2, train_loader(), valid_loader())
    if not player.is_reference:
        subject.facade.apply_weights()
    zeros = [bool((subject.model[index].weight == 0).any()) for index in (0, 2)]
    return {"zeros": zeros, "names": sorted(subject.weights())}


@situation(ways=("run",), expected={"loads": True, "names": ["0.bias", "0.weight", "2.bias", "2.weight"]})
def state_manager_with_pruning(player: Player) -> dict[str, Any]:
    """What `StateManagerAddon` writes of a model that is pruned loads into a fresh one."""
    found = written(player, pruned)
    return {"loads": found["loads"], "names": sorted(found["written"])}


@situation
def checkpoint_with_pruning(player: Player) -> dict[str, Any]:
    """The last checkpoint of a pruned model has plain weights."""
    save = C.ModelCheckpoint(player.folder / "saved", "last")
    player.make(model=deep, callbacks=lambda model: [*pruned(model), save]).fit(2, train_loader(), valid_loader())
    return {"names": sorted(torch.load(save.best_model_path, weights_only=False)["state_dict"])}


@situation
def stochastic_averages(player: Player) -> dict[str, Any]:
    """With stochastic weight averaging, the fit ends with the averages; the best weights are what was validated."""
    averaging = C.StochasticWeightAveraging(0.05, swa_epoch_start=1, annealing_epochs=1)
    return best_of(player, [averaging], n_epoch=4)


@situation
def weights_swapped_for_validation(player: Player) -> dict[str, Any]:
    """Weights that a callback swaps in for validation alone are the best weights."""

    class Swaps(C.Callback):
        def on_validation_epoch_start(self, trainer: Any, module: Any) -> None:
            self.kept = tensors_of(module.model)
            for parameter in module.model.parameters():
                parameter.data.mul_(0.5)

        def on_validation_epoch_end(self, trainer: Any, module: Any) -> None:
            module.model.load_state_dict(self.kept)

    return best_of(player, [Swaps()])
