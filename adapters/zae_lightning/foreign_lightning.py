"""Foreign Lightning: objects of ``pytorch_lightning`` in the trainer of ``lightning.pytorch``, and the other way round.

Both packages contain the same classes twice, and each checks for its own. The caller's objects keep their identity: for
the time of a run, a callback or logger of ``pytorch_lightning`` is an instance of both packages' classes. This package
never imports ``pytorch_lightning``; it reads the classes of a program that has imported it.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import types
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import lightning.pytorch as L
from lightning.fabric.plugins import ClusterEnvironment
from lightning.pytorch.accelerators import Accelerator
from lightning.pytorch.callbacks import BatchSizeFinder
from lightning.pytorch.plugins import CheckpointIO, LayerSync, Precision
from lightning.pytorch.strategies import Strategy

from .performance.trainer import FastTrainer

HOME, FOREIGN = "lightning.pytorch", "pytorch_lightning"
_TWINS = ((HOME, FOREIGN), ("lightning.fabric", "lightning_fabric"))
_NOT_BRIDGED = (Strategy, Accelerator, Precision, CheckpointIO, ClusterEnvironment, LayerSync, BatchSizeFinder)
"""The classes whose objects work on Lightning's private parts, which they know by their own package's classes."""


def is_instance(value: object, cls: type) -> bool:
    """Whether an object is an instance of a class of ``lightning.pytorch``, or of its twin in ``pytorch_lightning``."""
    twin = _foreign_twin(cls)
    return isinstance(value, cls if twin is None else (cls, twin))


def is_foreign(value: object) -> bool:
    """Whether an object's class comes from ``pytorch_lightning``, and Lightning does not take it for one of its own."""
    cls: Any = type(value)
    twin = _home_twin(cls) if FOREIGN in sys.modules else None
    return twin is not None and not isinstance(value, twin)


def check_can_be_bridged(*values: object) -> None:
    """Raise `TypeError` for an object of ``pytorch_lightning`` that works in its own package's trainer only."""
    for value in values:
        if is_foreign(value) and any(is_instance(value, cls) for cls in _NOT_BRIDGED):
            name = type(value).__name__
            raise TypeError(
                f"{name} comes from {FOREIGN} ({type(value).__module__}), but the trainer runs on {HOME}, where this "
                f"object cannot work. Take the same class from there: replace {FOREIGN} by {HOME} in its import. "
                f"(Callbacks, loggers and profilers of {FOREIGN} work as they are.)"
            )


@contextlib.contextmanager
def bridged(values: Iterable[Any]) -> Iterator[None]:
    """Make the objects of ``pytorch_lightning`` instances of both packages' classes, within the context.

    Lightning finds checkpoints, early stopping, progress bars and others by their classes. An object receives a
    subclass of its own class and of the class of the same name in ``lightning.pytorch``; all methods are those of its
    own class. Afterwards the object has its own class again.

    Parameters
    ----------
    values : iterable
        Callbacks and loggers, of any package.
    """
    originals: list[tuple[Any, type]] = []
    try:
        for value in values:
            if is_foreign(value):
                cls: Any = type(value)
                object.__setattr__(value, "__class__", _bridge(cls))
                originals.append((value, cls))
        yield
    finally:
        for value, cls in originals:
            object.__setattr__(value, "__class__", cls)


class MixedTrainer(FastTrainer):
    """An ``L.Trainer`` whose callbacks and loggers come from both packages; it finds them after the run too."""

    @property
    def checkpoint_callbacks(self) -> list[Any]:
        """The checkpoint callbacks of both packages."""
        with bridged(self.callbacks):
            return list(super().checkpoint_callbacks)

    @property
    def early_stopping_callbacks(self) -> list[Any]:
        """The early stopping callbacks of both packages."""
        with bridged(self.callbacks):
            return list(super().early_stopping_callbacks)

    @property
    def progress_bar_callback(self) -> Any:
        """The progress bar, of either package."""
        with bridged(self.callbacks):
            return super().progress_bar_callback

    @property
    def log_dir(self) -> str | None:
        """The folder of the first logger, of either package."""
        with bridged(self.loggers):
            return super().log_dir


def trainer_class(values: Iterable[Any]) -> type[FastTrainer]:
    """Return the class of a run's ``L.Trainer``, which depends on whose callbacks and loggers it has."""
    classes: list[Any] = [type(value) for value in values] if FOREIGN in sys.modules else []
    return MixedTrainer if any(_home_twin(cls) is not None for cls in classes) else FastTrainer


# The generated module in pytorch_lightning.Trainer


def module_class(cls: type) -> type:
    """Return a module class for the trainers of both packages; the class itself if the program uses one of them."""
    return _both(cls, HOME) if FOREIGN in sys.modules else cls


def class_for_trainer(cls: type, trainer: object) -> type:
    """Return the variant of a module class that a trainer takes for one of its own package.

    Lightning compares the code of a method with that of its own ``LightningModule`` to see whether the user has
    overridden it. So what the module does not override must come from the trainer's package.
    """
    own = cls.__dict__.get("_zae_module_class")
    foreign_trainer = _foreign_twin(L.Trainer)
    if own is None or foreign_trainer is None:
        return cls
    return _both(own, FOREIGN if isinstance(trainer, foreign_trainer) else HOME)


@lru_cache
def _both(cls: type, first: str) -> type:
    foreign_module = _foreign_twin(L.LightningModule)
    assert foreign_module is not None
    bases: tuple[type, ...] = (L.LightningModule, foreign_module)
    base = type("LightningModule", bases if first == HOME else bases[::-1], {})
    names = {"__module__": __name__, "__qualname__": f"{cls.__name__}{_SUFFIXES[first]}", "__doc__": cls.__doc__}
    return type(cls.__name__, (cls, base), {**names, "_zae_module_class": cls})


_SUFFIXES = {HOME: "_HomeFirst", FOREIGN: "_ForeignFirst"}


def __getattr__(name: str) -> Any:
    """Return a class of `module_class` by its qualified name, for pickle."""
    class_name, _, suffix = name.rpartition("_")
    first = {suffix: package for package, suffix in _SUFFIXES.items()}.get(f"_{suffix}")
    module = {"AutomaticOptimizationModule": "module", "ManualOptimizationModule": "manual_module"}.get(class_name)
    if first is None or module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    importlib.import_module(FOREIGN)
    return _both(getattr(importlib.import_module(f"{__package__}.{module}"), class_name), first)


# Classes


def _foreign_twin(cls: type) -> type | None:
    """Return the class of the same name in the other package; None if nothing has imported that."""
    for home, foreign in _TWINS:
        if f"{cls.__module__}.".startswith(f"{home}."):
            return _class_of(sys.modules.get(foreign + cls.__module__.removeprefix(home)), cls.__name__)
    return None


@lru_cache(256)
def _home_twin(cls: type) -> type | None:
    """Return the class of Lightning that corresponds to the most derived base from the other package."""
    for base in cls.__mro__:
        for home, foreign in _TWINS:
            if f"{base.__module__}.".startswith(f"{foreign}."):
                with contextlib.suppress(ImportError):  # the two packages may have different versions
                    module = importlib.import_module(home + base.__module__.removeprefix(foreign))
                    if (twin := _class_of(module, base.__name__)) is not None:
                        return twin
    return None


def _class_of(module: object, name: str) -> type | None:
    found = getattr(module, name, None)
    return found if isinstance(found, type) else None


@lru_cache(256)
def _bridge(cls: type) -> type:
    twin = _home_twin(cls)
    assert twin is not None
    names = {"__module__": cls.__module__, "__qualname__": cls.__qualname__, "__doc__": cls.__doc__}
    try:
        return types.new_class(cls.__name__, (cls, twin), exec_body=lambda namespace: namespace.update(names))
    except TypeError as error:  # the layouts of the two classes conflict
        raise TypeError(
            f"{cls.__name__} derives from {FOREIGN}, and cannot be used as the {twin.__name__} of {HOME} ({error}). "
            f"Derive it from {twin.__module__}.{twin.__name__}."
        ) from error
