"""Lightning kinds: callbacks and loggers of Lightning, told apart without importing it, and in any container."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_PACKAGES = ("lightning.pytorch", "pytorch_lightning")
_EXAMPLES = {
    "callback": "lightning.pytorch.callbacks.EarlyStopping(...)",
    "logger": "lightning.pytorch.loggers.CSVLogger(...)",
}


def is_callback(value: object, name: str = "Callback") -> bool:
    """Whether an object is a Lightning callback, of either package; ``name`` is that of the base class to look for."""
    return any(base.__name__ == name and base.__module__.startswith(_PACKAGES) for base in type(value).__mro__)


def has_progress_bar(callbacks: Any, trainer_kwargs: Mapping[str, Any]) -> bool:
    """Whether a progress bar of Lightning's shows the progress of a run."""
    given = callbacks if isinstance(callbacks, list) else []
    return bool(trainer_kwargs.get("enable_progress_bar")) or any(is_callback(c, "ProgressBar") for c in given)


def is_logger(value: object) -> bool:
    """Whether an object is a Lightning logger, or logs metrics as one does."""
    return not isinstance(value, type) and callable(getattr(value, "log_metrics", None))


def to_list(value: Any, kind: str) -> list[Any]:
    """Return callbacks or loggers as a list.

    Parameters
    ----------
    value : object
        None, one object, or objects in any container: a list, tuple, deque, generator, a mapping's values, Hydra's
        ``ListConfig``.
    kind : {"callback", "logger"}
        What the objects are to be.

    Returns
    -------
    list
        The objects.

    Raises
    ------
    TypeError
        If something is of another kind. The message names it.
    """
    is_kind = is_callback if kind == "callback" else is_logger
    if value is None:
        return []
    if is_kind(value):
        return [value]
    is_container = isinstance(value, Iterable) and not isinstance(value, (str, bytes, type))
    found = (
        list(value.values() if isinstance(value, Mapping) else value)
        if is_container and not _is_other(value)
        else [value]
    )
    for item in found:
        if isinstance(item, type):
            raise TypeError(f"{item.__name__} is a class; give an instance of it, {item.__name__}(...).")
        if not is_kind(item):
            raise TypeError(_refusal(item, kind))
    return found


def _is_other(value: Any) -> bool:
    return is_callback(value) or is_logger(value) or hasattr(value, "parameters")  # a module may be iterable


def _refusal(value: Any, kind: str) -> str:
    other = {"callback": "logger", "logger": "callback"}[kind]
    is_other = is_logger(value) if kind == "callback" else is_callback(value)
    text = f"{value!r} (of type {type(value).__name__}) is no Lightning {kind}. "
    if is_other:
        return f"{text}It is a {other}: give it as {other}s=[...]."
    return f"{text}Give instances such as {_EXAMPLES[kind]}, as {kind}s=[...]."
