"""The module as an object: used several times, copied, pickled, wrapped and extended."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import torch
from lightning.pytorch import callbacks as C
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn

from ..observing import on
from ..players import Player, tensors_of
from ..problem import WithNorm, train_loader, valid_loader
from . import situation


class WithExample(nn.Sequential):
    """A model that says what it takes."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(10, 4), nn.ReLU(), nn.Linear(4, 2))
        self.example_input_array = torch.zeros(3, 10)


class Wrapper(nn.Module):
    """A module around the model, as LoRA and others put it: the model and a part of its own."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.shift = inner, nn.Parameter(torch.zeros(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) + self.shift


@situation(ways=("own_trainer",))
def fit_validate_test_predict(player: Player) -> dict[str, Any]:
    """One module is fitted, validated, tested, and predicts."""
    subject = player.make().fit(2, train_loader(), valid_loader())
    validated = subject.call("validate", valid_loader())[0]
    tested = subject.call("test", valid_loader())[0]
    return {
        "val_loss": validated["test_loss"],
        "test_loss": tested["test_loss"],
        "outputs": subject.call("predict", valid_loader()),
    }


@situation(ways=("own_trainer",))
def validate_before_fit(player: Player) -> dict[str, Any]:
    """One module is validated before it is fitted, and fitted again."""
    subject = player.make()
    before = subject.call("validate", valid_loader(), trainer=subject.lightning_trainer())[0]["test_loss"]
    subject.trainer = None
    subject.fit(1, train_loader(), valid_loader())
    after = subject.call("validate", valid_loader())[0]["test_loss"]
    subject.fit(1, train_loader(), valid_loader())
    return {"before": before, "after": after, "weights": subject.weights(), **subject.counts()}


@situation(ways=("own_trainer",))
def two_trainers_one_module(player: Player) -> dict[str, Any]:
    """One module is fitted by two `L.Trainer`s, one after the other."""
    subject = player.make(optimizer=torch.optim.Adam).fit(1, train_loader())
    subject.trainer = None
    subject.fit(2, train_loader(), valid_loader())
    return {"weights": subject.weights(), "results": subject.results(), **subject.counts()}


@situation(ways=("own_trainer",))
def trainer_is_not_held(player: Player) -> dict[str, Any]:
    """The module works where nobody holds the trainer that it is from."""
    subject = player.make()
    if not player.is_reference:
        del subject.facade
    subject.fit(1, train_loader(), valid_loader())
    tested = subject.call("test", valid_loader())[0]["test_loss"]
    return {"weights": subject.weights(), "tested": tested, "outputs": subject.call("predict", valid_loader())}


@situation
def calls_of_the_module(player: Player) -> dict[str, Any]:
    """Calling the module in a hook calls the model."""
    seen: list[torch.Tensor] = []
    look = on("on_train_epoch_end", lambda trainer, module: seen.append(module(torch.ones(1, 10)).detach().clone()))
    player.make(callbacks=[look]).fit(2, train_loader())
    return {"seen": seen}


@situation
def deepcopy_in_the_middle(player: Player) -> dict[str, Any]:
    """A deep copy of the module in a batch hook has the weights of that moment and leaves the training alone."""
    copies: list[Any] = []

    def take(trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
        if index == 1:
            copies.append(copy.deepcopy(module))

    subject = player.make(callbacks=[on("on_train_batch_end", take)], optimizer=torch.optim.Adam)
    subject.fit(2, train_loader(), valid_loader())
    return {"copies": [tensors_of(taken) for taken in copies], "weights": subject.weights()}


@situation
def deepcopy_predicts(player: Player) -> dict[str, Any]:
    """A deep copy of the module can be called by itself after the training."""
    copies: list[Any] = []
    take = on("on_train_end", lambda trainer, module: copies.append(copy.deepcopy(module)))
    player.make(callbacks=[take]).fit(1, train_loader())
    copied = copies[0]
    return {"output": copied(torch.ones(2, 10)).detach(), "modes": copied.training}


@situation
def deepcopy_of_the_trainer(player: Player) -> dict[str, Any]:
    """A deep copy of the module is independent of the module: changing it changes nothing here."""

    def change(trainer: Any, module: Any, *_: Any) -> None:
        copied = copy.deepcopy(module)
        for parameter in copied.parameters():
            parameter.data.zero_()
        copied.eval()

    subject = player.make(callbacks=[on("on_train_batch_start", change)]).fit(2, train_loader())
    return {"weights": subject.weights()}


@situation
def average_by_hand(player: Player) -> dict[str, Any]:
    """A callback averages a deep copy of the module by hand and validates with it."""

    class Averages(C.Callback):
        def on_fit_start(self, trainer: Any, module: Any) -> None:
            self.average = copy.deepcopy(module.model)

        def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
            for mean, new in zip(self.average.parameters(), module.model.parameters(), strict=True):
                mean.data.mul_(0.5).add_(new.data, alpha=0.5)

        def on_validation_start(self, trainer: Any, module: Any) -> None:
            self.kept = copy.deepcopy(module.model.state_dict())
            module.model.load_state_dict(self.average.state_dict())

        def on_validation_end(self, trainer: Any, module: Any) -> None:
            module.model.load_state_dict(self.kept)

    subject = player.make(callbacks=[Averages()]).fit(3, train_loader(), valid_loader())
    return {"weights": subject.weights(), "results": subject.results()}


@situation
def pickle_in_the_middle(player: Player) -> dict[str, Any]:
    """The module can be pickled in a hook, as tracking tools do that log the model."""
    seen: list[dict[str, torch.Tensor]] = []

    def take(trainer: Any, module: Any, *_: Any) -> None:
        trainer_of, module._trainer = module._trainer, None
        try:
            seen.append(tensors_of(pickle.loads(pickle.dumps(module))))
        finally:
            module._trainer = trainer_of

    subject = player.make(callbacks=[on("on_train_epoch_end", take)])
    subject.fit(2, train_loader(), valid_loader())
    return {"seen": seen, "weights": subject.weights()}


@situation
def torch_save_at_the_end(player: Player) -> dict[str, Any]:
    """`torch.save` of the module after the training loads back and predicts."""
    modules: list[Any] = []
    player.make(callbacks=[on("on_fit_end", lambda trainer, module: modules.append(module))]).fit(1, train_loader())
    buffer = io.BytesIO()
    torch.save(modules[0], buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False)
    return {"output": loaded(torch.ones(2, 10)).detach(), "weights": tensors_of(loaded)}


@situation
def names_of_the_state(player: Player) -> dict[str, Any]:
    """The module's state dictionary, parameters and children have the hand-written module's names."""
    seen: dict[str, Any] = {}

    def look(trainer: Any, module: Any) -> None:
        seen["state"] = list(module.state_dict())
        seen["parameters"] = [name for name, _ in module.named_parameters()]
        seen["children"] = [name for name, _ in module.named_children()]

    player.make(model=WithNorm, callbacks=[on("on_train_start", look)]).fit(1, train_loader())
    return seen


@situation
def who_is_who(player: Player) -> dict[str, Any]:
    """`trainer.model`, `trainer.lightning_module`, `module.trainer`, optimizers and device are as in Lightning."""
    seen: dict[str, Any] = {}

    def look(trainer: Any, module: Any, *_: Any) -> None:
        seen["lightning_module"] = trainer.lightning_module is module
        seen["model"] = trainer.model is module
        seen["trainer"] = module.trainer is trainer
        seen["optimizer"] = module.optimizers().optimizer is trainer.optimizers[0]
        seen["scheduler"] = module.lr_schedulers() is trainer.lr_scheduler_configs[0].scheduler
        seen["device"], seen["dtype"] = str(module.device), str(module.dtype)
        seen["automatic"] = module.automatic_optimization
        seen["interval"] = trainer.lr_scheduler_configs[0].interval

    decays = lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 1)  # noqa: E731
    player.make(scheduler=decays, callbacks=[on("on_train_batch_start", look)]).fit(1, train_loader())
    return seen


@situation
def freeze_and_unfreeze(player: Player) -> dict[str, Any]:
    """`module.freeze()` and `unfreeze()` in hooks are what they are in Lightning."""
    seen: list[Any] = []

    def act(trainer: Any, module: Any) -> None:
        module.freeze()
        seen.append([parameter.requires_grad for parameter in module.parameters()])
        module.unfreeze()
        seen.append((module.training, module.model.training))

    subject = player.make(model=WithNorm, callbacks=[on("on_train_epoch_start", act)])
    return {"seen": seen, "weights": subject.fit(2, train_loader()).weights()}


@situation
def summary(player: Player) -> dict[str, Any]:
    """A summary has the layers, with sizes from `example_input_array`."""
    summaries: list[Any] = []

    class Keeps(C.ModelSummary):
        def _summary(self, trainer: Any, module: Any) -> Any:
            summaries.append(super()._summary(trainer, module))
            return summaries[-1]

    player.make(model=WithExample, callbacks=[Keeps(max_depth=2)]).fit(1, train_loader())
    kept = summaries[0]
    return {
        "names": kept.layer_names,
        "sizes": [kept.in_sizes, kept.out_sizes],
        "parameters": [kept.total_parameters, kept.trainable_parameters],
    }


@situation
def graph_for_tensorboard(player: Player) -> dict[str, Any]:
    """`TensorBoardLogger(log_graph=True)` writes the graph."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    logger = TensorBoardLogger(player.folder, log_graph=True)
    player.make(model=WithExample, loggers=[logger]).fit(1, train_loader())
    events = EventAccumulator(logger.log_dir)
    events.Reload()
    return {"graph": events.Tags()["graph"]}


@situation(ways=("own_trainer",))
def traced(player: Player) -> dict[str, Any]:
    """`module.to_torchscript(method="trace")` and `torch.export` give the model."""
    subject = player.make(model=WithExample).fit(1, train_loader())
    x = torch.ones(3, 10)
    exported = torch.export.export(subject.module.eval(), (x,)).module()
    return {"traced": subject.module.to_torchscript(method="trace")(x).detach(), "exported": exported(x).detach()}


@situation
def wrapper_in_place_of_the_model(player: Player) -> dict[str, Any]:
    """A callback that puts a wrapper in the place of `module.model` has the wrapper trained and validated."""
    wrappers: list[Any] = []

    def wrap(trainer: Any, module: Any) -> None:
        module.model = Wrapper(module.model)
        trainer.optimizers[0].add_param_group({"params": [module.model.shift]})
        wrappers.append(module.model)

    subject = player.make(callbacks=[on("on_train_start", wrap)]).fit(2, train_loader(), valid_loader())
    return {"shift": wrappers[0].shift.detach().clone(), "results": subject.results(), "weights": subject.weights()}


@situation
def wrapper_set_in_setup(player: Player) -> dict[str, Any]:
    """A wrapper that `setup` puts in place is what is trained, summarised and saved."""

    def wrap(trainer: Any, module: Any, stage: str) -> None:
        module.model = Wrapper(module.model)
        module.model.shift.data.fill_(0.5)

    save = C.ModelCheckpoint(player.folder / "saved", "last")
    subject = player.make(callbacks=[on("setup", wrap), save]).fit(1, train_loader(), valid_loader())
    saved = torch.load(save.best_model_path, weights_only=False)["state_dict"]
    return {"saved": dict(saved), "results": subject.results()}


@situation
def modules_that_a_callback_adds(player: Player) -> dict[str, Any]:
    """A module that a callback adds to the module is trained, saved and restored."""

    class AddsHead(C.Callback):
        def setup(self, trainer: Any, module: Any, stage: str) -> None:
            if not hasattr(module, "probe"):
                module.probe = nn.Linear(2, 2)

        def on_train_start(self, trainer: Any, module: Any) -> None:
            self.optimizer = torch.optim.SGD(module.probe.parameters(), lr=0.1)

        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, index: int) -> None:
            self.optimizer.zero_grad()
            module.probe(module.model(batch[0]).detach()).square().mean().backward()
            self.optimizer.step()

    def train(seed: int, **options: Any) -> tuple[Any, Any]:
        save = C.ModelCheckpoint(player.folder / f"saved-{seed}", "last")
        subject = player.make(callbacks=[AddsHead(), save], seed=seed).fit(1, train_loader(), **options)
        return subject, save.best_model_path

    _, path = train(1)
    subject, path = train(2, ckpt_path=path, after=1)
    saved = torch.load(path, weights_only=False)["state_dict"]
    return {"saved": dict(saved), "weights": subject.weights()}


@situation
def attributes_on_the_module(player: Player) -> dict[str, Any]:
    """Attributes, buffers and metrics that a callback sets on the module stay there."""
    import torchmetrics

    seen: list[float] = []

    class Counts(C.Callback):
        def setup(self, trainer: Any, module: Any, stage: str) -> None:
            module.counted = torchmetrics.SumMetric()
            module.register_buffer("seen_batches", torch.zeros(1))

        def on_train_batch_end(self, trainer: Any, module: Any, *_: Any) -> None:
            module.counted.update(1.0)
            module.seen_batches += 1

        def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
            seen.append(float(module.counted.compute()) + float(module.seen_batches))

    player.make(callbacks=[Counts()]).fit(2, train_loader())
    return {"seen": seen}
