"""Epoch line: what an epoch came to, as a line of text that fits a width."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LONGEST_TEXT = 30
"""The longest value that is shown, where a metric is no number."""


@dataclass
class EpochLine:
    """The results of an epoch, as texts; it is sent to the process that shows it.

    Attributes
    ----------
    title : str
        Such as ``"Epoch 3/10"``.
    epoch : int
        The number of the epoch, from 1.
    values : dict of str to dict of str to str
        For ``"train"`` and ``"test"`` the values by their names, the loss first.
    seconds : float or None
        The duration of the epoch.
    is_best : bool
        Whether the epoch is better than all before.
    """

    title: str
    epoch: int
    values: dict[str, dict[str, str]] = field(default_factory=dict)
    seconds: float | None = None
    is_best: bool = False

    def text(self, width: int | None = None) -> str:
        """Return the line, such as ``Epoch 3/10 | train_loss: 0.5123, acc: 0.81 | test_loss: 0.6001 | 1.2 s *``.

        Parameters
        ----------
        width : int, optional
            The longest line. Values are left out where the line is longer, from the end of the longest group; "…" takes
            their place.
        """
        groups = {mode: [f"{key}: {value}" for key, value in values.items()] for mode, values in self.values.items()}
        groups = {mode: parts for mode, parts in groups.items() if parts}
        shortened: set[str] = set()
        while width is not None and len(line := self._joined(groups, shortened)) > width:
            longest = max(groups, key=lambda mode: len(groups[mode]), default=None)
            if longest is None or len(groups[longest]) < 2:
                return line if len(line) <= width else line[: max(width - 1, 0)] + "…"
            groups[longest].pop()
            shortened.add(longest)
        return self._joined(groups, shortened)

    def _joined(self, groups: Mapping[str, list[str]], shortened: set[str]) -> str:
        texts = [f"{mode}_{', '.join(parts)}" + (", …" if mode in shortened else "") for mode, parts in groups.items()]
        end = [] if self.seconds is None else [duration(self.seconds)]
        return " | ".join([self.title, *texts, *end]) + (" *" if self.is_best else "")


def shown_values(values: Mapping[str, Any]) -> dict[str, str]:
    """Return values as texts, the loss first, without what takes more than some words."""
    texts = {key: text for key, value in values.items() if (text := _text(value)) is not None}
    return {**({"loss": texts["loss"]} if "loss" in texts else {}), **texts}


def _text(value: Any) -> str | None:
    try:
        number = float(value) if not isinstance(value, (str, bytes)) else None
    except Exception:  # a metric may be anything
        number = None
    if number is not None:
        is_common = number == 0 or 1e-3 <= abs(number) < 1e6 or number != number
        return f"{number:.4f}" if is_common else f"{number:.3e}"
    text = str(value)
    return text if len(text) <= LONGEST_TEXT and text.isprintable() else None


def duration(seconds: float) -> str:
    """Return a duration, such as ``0.3 s``, ``45 s``, ``2:05 min`` or ``1:02:05 h``."""
    if seconds < 99.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02} h"
