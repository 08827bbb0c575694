"""Observing: callbacks that record, and the comparison of what two ways have recorded."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers.logger import Logger

HOOKS = tuple(name for name in vars(Callback) if name.startswith("on_") or name in ("setup", "teardown"))
BATCH_HOOKS = tuple(name for name in HOOKS if "_batch_" in name)
EPOCH_HOOKS = tuple(name for name in HOOKS if "_epoch_" in name)


def recorder(
    look: Callable[[str, Any, Any, tuple[Any, ...]], Any] = lambda hook, trainer, module, rest: hook,
    hooks: Sequence[str] = HOOKS,
    base: type = Callback,
) -> Any:
    """Return a callback whose ``seen`` is what ``look(hook, trainer, module, other arguments)`` gave at every hook."""

    def make(name: str) -> Callable[..., None]:
        def hook(self: Any, trainer: Any, module: Any, *rest: Any, **named: Any) -> None:
            self.seen.append(look(name, trainer, module, (*rest, *named.values())))

        return hook

    callback = type("Recorder", (base,), {name: make(name) for name in hooks})()
    callback.seen = []
    return callback


def on(hook: str, act: Callable[..., Any], base: type = Callback) -> Any:
    """Return a callback that does one thing at one hook: ``act(trainer, module, *others)``."""
    return type("Acts", (base,), {hook: lambda self, *args, **named: act(*args, *named.values())})()


def rows(logger: Any) -> dict[str, list[tuple[int, float]]]:
    """Return what a `CSVLogger` has written, as ``(step, value)`` by name."""
    found: dict[str, list[tuple[int, float]]] = {}
    file = Path(logger.log_dir) / "metrics.csv"
    for line in csv.DictReader(file.open()) if file.exists() else ():
        for name, value in line.items():
            if value and name not in ("step", "epoch"):
                found.setdefault(name, []).append((int(line["step"]), float(value)))
    return found


def files(folder: Any, pattern: str = "*") -> list[str]:
    """Return the names of the files below a folder."""
    return sorted(str(file.relative_to(folder)) for file in Path(folder).rglob(pattern) if file.is_file())


def outcome(function: Callable[..., Any], *args: Any, **options: Any) -> str:
    """Return ``"passes"``, or the name of the exception that a call raises."""
    try:
        function(*args, **options)
    except Exception as error:
        return type(error).__name__
    return "passes"


def refusal(function: Callable[..., Any], *args: Any, **options: Any) -> str:
    """Return the message of the `TypeError` or `ValueError` that a call raises; empty if there is none."""
    try:
        function(*args, **options)
    except (TypeError, ValueError) as error:
        return str(error)
    return ""


def differences(expected: Any, observed: Any, place: str = "") -> list[str]:
    """Return where two observations differ, a line each."""
    if isinstance(expected, Mapping) and isinstance(observed, Mapping):
        found = []
        for key in {**expected, **observed}:
            where = f"{place}.{key}" if place else str(key)
            if key not in observed:
                found.append(f"{where}: expected {_short(expected[key])}, but it is missing")
            elif key not in expected:
                found.append(f"{where}: not expected, but it is {_short(observed[key])}")
            else:
                found += differences(expected[key], observed[key], where)
        return found
    if isinstance(expected, (list, tuple)) and isinstance(observed, (list, tuple)):
        if len(expected) != len(observed):
            return [
                f"{place}: expected {len(expected)} {_short(expected)}, observed {len(observed)} {_short(observed)}"
            ]
        return [
            line
            for index, pair in enumerate(zip(expected, observed, strict=True))
            for line in differences(*pair, f"{place}[{index}]")
        ]
    return [] if _equal(expected, observed) else [f"{place}: expected {_short(expected)}, observed {_short(observed)}"]


def _equal(expected: Any, observed: Any) -> bool:
    if isinstance(expected, torch.Tensor) and isinstance(observed, torch.Tensor):
        return expected.shape == observed.shape and torch.equal(expected, observed)
    if isinstance(expected, float) and isinstance(observed, float):
        both_nan = math.isnan(expected) and math.isnan(observed)
        return both_nan or math.isclose(expected, observed, rel_tol=1e-5, abs_tol=1e-7)
    return type(expected) is type(observed) and expected == observed


def _short(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"tensor{tuple(value.shape)} with sum {float(value.double().sum()):.6g}"
    text = repr(value)
    return text if len(text) < 700 else f"{text[:700]}…"


class Keeps(Logger):
    """A logger that keeps what it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.parameters: list[Any] = []

    @property
    def name(self) -> str:
        return "keeps"

    @property
    def version(self) -> int:
        return 0

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.logged.append((-1 if step is None else int(step), dict(metrics)))

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.parameters.append(params)

    def of(self, name: str) -> list[tuple[int, float]]:
        """Return what was logged under a name, as ``(step, value)``."""
        return [(step, float(metrics[name])) for step, metrics in self.logged if name in metrics]
