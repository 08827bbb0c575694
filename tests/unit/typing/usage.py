"""Typed usage: what ``nox -s types`` checks with mypy and pyright.

Both tools know the type in each ``assert_type``. A line with ``# wrong: <rule of mypy>, <rule of pyright>`` is an error
for both, by these rules; every other line is correct. The file only runs where it is imported: it trains nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback
from lightning.pytorch import Trainer as LightningTrainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, Logger
from matplotlib.figure import Figure
from torch import Tensor, nn
from typing_extensions import assert_type

from zae_engine.trainer import History, ProgressChecker, Trainer, compare
from zae_engine.trainer.addons import (
    AddOnBase,
    MultiGPUAddon,
    MultiGPUMixin,
    NeptuneLoggerAddon,
    PrecisionMixerAddon,
    PrecisionMixerMixin,
    StateManagerAddon,
    StateManagerMixin,
    WandBLoggerAddon,
    WandBLoggerMixin,
)


class Classifier(Trainer):
    def train_step(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        x, y = batch
        return {"loss": nn.functional.cross_entropy(self.model(x), y)}

    def test_step(self, pair: tuple[Tensor, Tensor]) -> dict[str, Tensor]:  # a name of the user's own
        return self.train_step(pair)

    def predict_step(self, batch: Tensor) -> Tensor:
        logits: Tensor = self.model(batch)
        return logits.argmax(1)

    def run_batch(self, batch: tuple[Tensor, Tensor], **kwargs: Any) -> None:
        super().run_batch(batch, **kwargs)

    def metric_on_epoch_end(self) -> dict[str, float]:
        return {"steps": float(len(self.log_train["loss"]))}

    def names(self) -> list[str]:
        return ["even", "odd"]


class Dicts(Trainer):
    def train_step(self, batch: dict[str, Tensor]) -> dict[str, Any]:
        return {"loss": self.model(batch["x"]).mean()}

    def test_step(self, batch: dict[str, Tensor]) -> dict[str, Any]:
        return self.train_step(batch)


class Returns(Trainer):
    def train_step(self, batch: Tensor) -> Tensor:  # wrong: override, reportIncompatibleMethodOverride
        return batch

    def test_step(self, batch: Tensor) -> dict[str, Tensor]:
        return {"loss": batch.mean()}


def of_a_classifier(trainer: Classifier) -> None: ...


model = nn.Linear(3, 2)
optimizer = torch.optim.Adam(model.parameters())
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
stopping = EarlyStopping("val_loss")

# A trainer, and what it holds

trainer = Classifier(model, "cpu", "train", optimizer, scheduler, callbacks=stopping, loggers=[CSVLogger("logs")])
Classifier(model, [torch.device("cuda", 0), "cuda:1"], mode="test", log_bar="always", callbacks={"stop": stopping})
Classifier(model, "cpu", monitor="test_acc", monitor_mode="max", epoch_means="samples", lightning={"max_steps": 3})
Classifier(model, "cpu", "training")  # wrong: arg-type, reportArgumentType
Classifier(model, "cpu", epoch_means="epochs")  # wrong: arg-type, reportArgumentType
Classifier(model, "cpu", monitor_mode="highest")  # wrong: arg-type, reportArgumentType
Classifier(model, "cpu", callbacks=[3])  # wrong: list-item, reportArgumentType
Classifier(model, "cpu", loggers="wandb")  # wrong: arg-type, reportArgumentType
Classifier(model, "cpu", save_path="states")  # wrong: call-arg, reportCallIssue

trainer.run(3, [(torch.ones(1, 3), torch.ones(1))], until=None)
assert_type(trainer.names(), list[str])
assert_type(trainer.history, History)
assert_type(trainer.history[0], dict[str, Any])
assert_type(trainer.history["train_loss"], list[Any])
assert_type(trainer.history.steps("test"), list[float])
assert_type(trainer.history.best("test_acc", mode="max"), dict[str, Any])
assert_type(trainer.progress_checker, ProgressChecker)
assert_type(trainer.callbacks, list[Callback])
assert_type(trainer.loggers, list[Logger])
assert_type(trainer.plot("loss", label="Adam"), Figure)
assert_type(trainer.train_metrics, dict[str, Any])
current: Literal["train", "test"] = trainer.mode
trainer.mode = "test"
trainer.mode = "validate"  # wrong: assignment, reportAttributeAccessIssue
trainer.toggle("tset")  # wrong: arg-type, reportArgumentType
trainer.get_loss_history("valid")  # wrong: arg-type, reportArgumentType
trainer.callbacks.append(ModelCheckpoint())
trainer.callbacks = [stopping]
LightningTrainer(callbacks=trainer.callbacks, logger=trainer.loggers)
trainer.predict(torch.ones(2, 3), weights="best")
trainer.predict(torch.ones(2, 3), weights="last")  # wrong: arg-type, reportArgumentType
trainer.plott()  # wrong: attr-defined, reportAttributeAccessIssue

assert_type(compare({"Adam": trainer, "SGD": trainer.history, "before": "history.json"}, "loss"), Figure)
compare({"before": Path("history.json")}, table=True)
compare({"Adam": 3})  # wrong: dict-item, reportArgumentType

# Add-ons

Saved = Classifier.add_on(StateManagerAddon)
saved = Saved(model, "cpu", "train", optimizer, save_path=Path("states"), save_format="safetensor", save_every=5)
assert_type(saved.save_state(), None)
assert_type(saved.load_state(missing_ok=True), None)
assert_type(saved.state_file("model"), str)
assert_type(saved.saved_loss, float | None)
assert_type(saved.history, History)
assert_type(saved.callbacks, list[Callback])
saved.names()  # what the class defines is there, as Any
of_a_classifier(saved)
Saved(model, "cpu")  # wrong: call-arg, reportCallIssue
Saved(model, "cpu", save_path=3)  # wrong: arg-type, reportArgumentType
Saved(model, "cpu", save_path="states", save_format="zip")  # wrong: arg-type, reportArgumentType
Saved(model, "cpu", save_path="states", save_every="epoch")  # wrong: arg-type, reportArgumentType
saved.load_state(missing_ok="yes")  # wrong: arg-type, reportArgumentType

logged = Classifier.add_on(WandBLoggerAddon)(model, "cpu", web_logger={"wandb": {"mode": "offline"}})
assert_type(logged.web_logger, dict[str, Any])
Classifier.add_on(WandBLoggerAddon)(model, "cpu", web_logger="wandb")  # wrong: arg-type, reportArgumentType
Classifier.add_on(NeptuneLoggerAddon)(model, "cpu", web_logger={"neptune": {"project_name": "a/b"}}).run(1, [])

mixed = Trainer.add_on(PrecisionMixerAddon)(model, "cuda", precision=["bf16", "fp16"])
assert_type(mixed.precision, list[str])
Trainer.add_on(PrecisionMixerAddon)(model, "cuda", precision="half")  # wrong: arg-type, reportArgumentType

several = Trainer.add_on(MultiGPUAddon)(model, ["cpu", "cpu"], init_method="tcp://localhost:12355")
assert_type(several.init_method, str | None)

Both = Classifier.add_on(StateManagerAddon, WandBLoggerAddon, PrecisionMixerAddon)
both = Both(model, "cpu", save_path="states", web_logger={"wandb": {}}, precision="bf16")
assert_type(both.save_state(), None)
assert_type(both.web_logger, dict[str, Any])
assert_type(both.scaler, torch.amp.GradScaler | None)
Both(model, "cpu", save_path="states", precision="half")  # wrong: arg-type, reportArgumentType
Both(model, "cpu", save_path=3)  # wrong: arg-type, reportArgumentType

assert_type(Classifier.add_on(EarlyStopping("val_loss"), CSVLogger("logs")), type[Classifier])


class Quiet(AddOnBase):
    @classmethod
    def apply(cls, base_cls: type[Any]) -> type[Any]:
        return base_cls


Classifier.add_on(Quiet)(model, "cpu", loudness=0).whisper()

# Classes with full types: the mixin of each add-on before the trainer


class Full(StateManagerMixin, PrecisionMixerMixin, WandBLoggerMixin, MultiGPUMixin, Classifier):
    def epochs(self) -> int:
        self.save_state()
        return len(self.history)


full = Full(model, "cpu", save_path="states", precision="bf16", web_logger={"wandb": {}}, init_method=None)
assert_type(full.names(), list[str])
assert_type(full.load_state(), None)
assert_type(full.callbacks, list[Callback])
assert_type(full.web_logger, dict[str, Any])
of_a_classifier(full)
full.save_stat()  # wrong: attr-defined, reportAttributeAccessIssue
Full(model, "cpu", save_path="states", save_format="zip")  # wrong: arg-type, reportArgumentType
