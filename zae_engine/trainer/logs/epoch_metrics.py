"""Epoch metrics: update torchmetrics with what the steps return, and compute them once an epoch."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

INPUTS = ("preds", "target")


class EpochMetrics:
    """The metrics of a trainer, with separate states for training and for testing.

    Parameters
    ----------
    metrics : mapping of str to torchmetrics.Metric, torchmetrics.MetricCollection, or None
        The metrics to compute.

    Raises
    ------
    TypeError
        If ``metrics`` is none of these.

    Attributes
    ----------
    inputs : frozenset of str
        The keys of the step's dict that update the metrics. They are not results themselves.
    """

    def __init__(self, metrics: Any = None) -> None:
        self._by_mode: dict[str, dict[str, Any]] = {"train": {}, "test": {}}
        self._returned_by_steps: dict[str, dict[str, Any]] = {"train": {}, "test": {}}
        self._update_counts: dict[str, int] = {"train": 0, "test": 0}
        self._warned: set[str] = set()
        self.inputs = frozenset(INPUTS if metrics is not None else ())
        if metrics is None:
            return
        if not isinstance(metrics, Mapping) and not hasattr(metrics, "items"):
            metrics = {type(metrics).__name__.lower(): metrics} if is_metric(metrics) else metrics
        if not hasattr(metrics, "items") or not all(is_metric(metric) for _, metric in metrics.items()):
            raise TypeError(
                f"metrics={metrics!r} is no dict of names and torchmetrics, such as "
                f'{{"acc": torchmetrics.Accuracy(task="multiclass", num_classes=10)}}, and no MetricCollection.'
            )
        for mode in self._by_mode:
            self._by_mode[mode] = {str(name): metric.clone() for name, metric in metrics.items()}

    def __bool__(self) -> bool:
        return bool(self._by_mode["train"])

    def begin(self, mode: str) -> None:
        """Reset the metrics of a mode at the start of an epoch."""
        self._update_counts[mode] = 0
        for metric in self._by_mode[mode].values():
            metric.reset()

    def state(self, mode: str) -> dict[str, Any]:
        """Return the state of the metrics of a mode within the current epoch. The keys are a format on disk."""
        members = {name: (dict(member.metric_state), member.update_count) for name, member in self._members(mode)}
        return {"fed": self._update_counts[mode], "members": members}

    def load(self, mode: str, state: Mapping[str, Any]) -> None:
        """Restore what `state` returned, and reset the metrics that it does not contain."""
        self.begin(mode)
        self._update_counts[mode] = int(state["fed"])
        for name, member in self._members(mode):
            values, count = state["members"].get(name, ({}, 0))
            for key, value in values.items():
                setattr(member, key, value)
            member._update_count = count

    def _members(self, mode: str) -> Iterator[tuple[str, Any]]:
        for name, metric in self._by_mode[mode].items():
            members = metric.items(keep_base=True, copy_state=False) if hasattr(metric, "items") else [("", metric)]
            for key, member in members:
                yield f"{name}/{key}", member

    def update(self, mode: str, inputs: Any, device: Any) -> None:
        """Update the metrics of a mode.

        Parameters
        ----------
        mode : {"train", "test"}
            The mode.
        inputs : tuple, mapping or None
            The arguments of ``Metric.update``; None if the step returned none.
        device : torch.device
            The device of the inputs.
        """
        if inputs is None:
            return
        self._update_counts[mode] += 1
        for metric in self._by_mode[mode].values():
            if hasattr(metric, "items"):  # a collection has no device, and filters the arguments itself
                metric.to(device)
                metric.update(**inputs) if isinstance(inputs, Mapping) else metric.update(*inputs)
                continue
            if metric.device != device:
                metric.to(device)
            if isinstance(inputs, Mapping):
                metric.update(**metric._filter_kwargs(**inputs))
            else:
                metric.update(*inputs)

    def add_step_metric(self, mode: str, key: str, metric: Any) -> None:
        """Register a metric that a step returned as a value. It is computed and reset at the end of the epoch."""
        self._returned_by_steps[mode][key] = metric

    def compute(self, mode: str) -> dict[str, Any]:
        """Return the results of the epoch over all ranks. A metric of several values gives ``<name>_<key>``."""
        values: dict[str, Any] = {}
        if self and not self._update_counts[mode] and mode not in self._warned:
            self._warned.add(mode)
            warnings.warn(
                f'{mode}_step returned no "preds" and "target", so the metrics are not computed in {mode} mode. Return '
                f"both with the loss, or override metric_inputs(step_dict).",
                stacklevel=2,
            )
        configured = self._by_mode[mode].items() if self._update_counts[mode] else ()
        returned, self._returned_by_steps[mode] = self._returned_by_steps[mode], {}
        for name, metric in [*configured, *returned.items()]:
            value = metric.compute()
            if isinstance(value, Mapping):
                values.update({f"{name}_{key}": element for key, element in value.items()})
            else:
                values[name] = value
        for metric in returned.values():
            metric.reset()
        return {name: _to_host(value) for name, value in values.items()}


def is_metric(value: Any) -> bool:
    """Whether a value is a metric of torchmetrics. The function does not import torchmetrics."""
    torchmetrics = sys.modules.get("torchmetrics")
    return torchmetrics is not None and isinstance(value, (torchmetrics.Metric, torchmetrics.MetricCollection))


def default_inputs(step_dict: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """Return the values of ``"preds"`` and ``"target"``; None if the step did not return both."""
    return tuple(step_dict[key] for key in INPUTS) if all(key in step_dict for key in INPUTS) else None


def tensors_of(inputs: Any) -> Iterable[Any]:
    """Return the values among the arguments of `EpochMetrics.update`."""
    return inputs.values() if isinstance(inputs, Mapping) else inputs


def _to_host(value: Any) -> Any:
    """Return a tensor of one element as a number, and any other tensor on the CPU."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        return value.item() if value.numel() == 1 else value
    return value
