"""Data modules: `run(n, datamodule)` is Lightning's contract."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch import callbacks as C
from torch.utils.data import DataLoader

from ..observing import on, recorder
from ..players import Player
from ..problem import dataset, train_loader, valid_loader
from . import situation


class Data(L.LightningDataModule):
    """A data module that notes its calls."""

    def __init__(self, batch_size: int = 8) -> None:
        super().__init__()
        self.calls: list[str] = []
        self.batch_size, self.epochs, self.loaded = batch_size, 0, None

    def prepare_data(self) -> None:
        self.calls.append("prepare_data")

    def setup(self, stage: str) -> None:
        self.calls.append(f"setup {getattr(stage, 'value', stage)} {self.trainer is not None}")

    def teardown(self, stage: str) -> None:
        self.calls.append(f"teardown {getattr(stage, 'value', stage)}")

    def train_dataloader(self) -> DataLoader:
        self.calls.append("train_dataloader")
        return train_loader(batch_size=self.batch_size)

    def val_dataloader(self) -> Any:
        self.calls.append("val_dataloader")
        return valid_loader()


class Transfers(Data):
    """A data module that changes batches on their way to the device."""

    def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return [batch[0] * 0.5, batch[1]]

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        self.calls.append("transfer")
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return [batch[0] + 0.25, batch[1]]


class Remembers(Data):
    """A data module with a state."""

    def state_dict(self) -> dict[str, Any]:
        return {"epochs": self.trainer.current_epoch + 1}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.loaded = state["epochs"]


class Reloads(Data):
    """A data module whose loader changes when it is asked for again."""

    def train_dataloader(self) -> DataLoader:
        super().train_dataloader()
        self.epochs += 1
        return train_loader(data=dataset(24, seed=self.epochs))


class Several(Data):
    """A data module with several validation loaders."""

    def val_dataloader(self) -> Any:
        return [valid_loader(), valid_loader(data=dataset(18, seed=7))]


@situation
def calls_in_order(player: Player) -> dict[str, Any]:
    """A data module is prepared, set up with its trainer, asked for loaders and torn down."""
    data = Data()
    subject = player.make(callbacks=[C.Callback()]).fit(2, datamodule=data)
    return {"calls": data.calls, "weights": subject.weights(), "results": subject.results()}


@situation
def known_to_the_trainer(player: Player) -> dict[str, Any]:
    """`trainer.datamodule` is the data module, and `datamodule.trainer` the trainer."""
    data = Data()
    seen: list[Any] = []
    look = on("on_train_start", lambda trainer, m: seen.append((trainer.datamodule is data, data.trainer is trainer)))
    player.make(callbacks=[look]).fit(1, datamodule=data)
    return {"seen": seen}


@situation
def transfer_hooks(player: Player) -> dict[str, Any]:
    """A data module's transfer hooks change the batches."""
    data = Transfers()
    subject = player.make(callbacks=[C.Callback()]).fit(2, datamodule=data)
    return {"weights": subject.weights(), "transfers": data.calls.count("transfer"), "results": subject.results()}


@situation
def state_in_checkpoints(player: Player) -> dict[str, Any]:
    """A data module's state is in checkpoints, and is given back when one is resumed."""
    save = C.ModelCheckpoint(player.folder / "saved", "last")
    player.make(callbacks=[save]).fit(2, datamodule=Remembers())
    saved = torch.load(save.best_model_path, weights_only=False).get("Remembers")
    data = Remembers()
    player.make(callbacks=[C.Callback()]).fit(1, datamodule=data, ckpt_path=save.best_model_path, after=2)
    return {"saved": saved, "loaded": data.loaded}


@situation
def loaders_made_anew(player: Player) -> dict[str, Any]:
    """`reload_dataloaders_every_n_epochs` asks a data module for loaders again."""
    data = Reloads()
    subject = player.make(callbacks=[C.Callback()], arguments={"reload_dataloaders_every_n_epochs": 1})
    subject.fit(3, datamodule=data)
    return {"weights": subject.weights(), "asked": data.calls.count("train_dataloader")}


@situation
def batch_size_found(player: Player) -> dict[str, Any]:
    """`BatchSizeFinder` finds and sets the data module's `batch_size`."""
    data = Data(batch_size=2)
    finder = C.BatchSizeFinder(mode="power", steps_per_trial=1, init_val=2, max_trials=2)
    subject = player.make(callbacks=[finder]).fit(1, datamodule=data)
    return {"found": finder.optimal_batch_size, "set": data.batch_size, "weights": subject.weights()}


@situation
def several_validation_loaders(player: Player) -> dict[str, Any]:
    """A data module's several validation loaders are validated in turn."""
    note = recorder(
        lambda hook, trainer, module, rest: [value for value in rest if type(value) is int],
        ["on_validation_batch_end"],
    )
    subject = player.make(callbacks=[note]).fit(1, datamodule=Several())
    metrics = subject.trainer.callback_metrics
    by_loader = {name: float(value) for name, value in metrics.items() if name.startswith("val_loss/dataloader_idx")}
    return {"indices": note.seen, "by_loader": by_loader}


@situation
def hyperparameters(player: Player) -> dict[str, Any]:
    """A data module that keeps its hyperparameters has them in a checkpoint."""

    class Keeps(Data):
        def __init__(self, size: int = 4) -> None:
            super().__init__()
            self.save_hyperparameters()

    save = C.ModelCheckpoint(player.folder / "saved", "last")
    player.make(callbacks=[save]).fit(1, datamodule=Keeps(4))
    saved = torch.load(save.best_model_path, weights_only=False)
    return {"kept": dict(saved.get("datamodule_hyper_parameters", {}))}


@situation(ways=("own_trainer",))
def tested_and_predicted(player: Player) -> dict[str, Any]:
    """A data module tests and predicts with a module that it has trained."""

    class Whole(Data):
        def test_dataloader(self) -> Any:
            return valid_loader()

        def predict_dataloader(self) -> Any:
            return valid_loader()

    data = Whole()
    subject = player.make().fit(1, datamodule=data)
    tested = subject.call("test", datamodule=data)[0]["test_loss"]
    return {"tested": tested, "outputs": subject.call("predict", datamodule=data), "calls": data.calls}


@situation
def in_two_runs(player: Player) -> dict[str, Any]:
    """A data module that is used in two runs continues."""
    data = Data()
    subject = player.make(callbacks=[C.Callback()]).fit(1, datamodule=data).fit(1, datamodule=data)
    return {"weights": subject.weights(), "prepared": data.calls.count("prepare_data")}
