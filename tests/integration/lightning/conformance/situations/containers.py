"""Containers: parts in any container work, and nothing that is given is ignored in silence."""

from __future__ import annotations

from collections import UserList, deque
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import callbacks as C
from lightning.pytorch.loggers import CSVLogger

from ..observing import on, refusal, rows
from ..players import Player
from ..problem import train_loader
from . import situation


def heard(player: Player, contain: Callable[[list[Any]], Any], later: bool = False) -> dict[str, Any]:
    """Return which of two callbacks and two loggers are called, given in a container."""
    seen: list[str] = []
    callbacks = [on("on_train_start", lambda *_, name=name: seen.append(name)) for name in ("a", "b")]
    loggers = [CSVLogger(player.folder, name) for name in ("a", "b")]
    if later and not player.is_reference:
        subject = player.make()
        subject.facade.callbacks, subject.facade.loggers = contain(callbacks), contain(loggers)
    elif player.is_reference:
        subject = player.make(callbacks=callbacks, loggers=loggers)
    else:
        subject = player.make(callbacks=(), loggers=(), given={})
        given = {"callbacks": contain(callbacks), "loggers": contain(loggers)}
        subject = player.make(given=given)
    subject.fit(1, train_loader())
    return {"callbacks": seen, "loggers": [len(rows(logger).get("loss", [])) for logger in loggers]}


@situation(ways=("run",))
def tuple_of_parts(player: Player) -> dict[str, Any]:
    """Parts in a tuple work."""
    return heard(player, tuple)


@situation(ways=("run",))
def deque_of_parts(player: Player) -> dict[str, Any]:
    """Parts in a deque work."""
    return heard(player, deque)


@situation(ways=("run",))
def generator_of_parts(player: Player) -> dict[str, Any]:
    """Parts from a generator work."""
    return heard(player, lambda parts: (part for part in parts))


@situation(ways=("run",))
def sequence_of_parts(player: Player) -> dict[str, Any]:
    """Parts in a sequence of a class of its own, as Hydra's `ListConfig` is one, work."""
    return heard(player, UserList)


@situation(ways=("run",))
def values_of_a_dict(player: Player) -> dict[str, Any]:
    """Parts in the values of a dict, as Hydra's configurations have them, work."""
    return heard(player, lambda parts: dict(enumerate(parts)).values())


@situation(ways=("run",))
def tuple_set_later(player: Player) -> dict[str, Any]:
    """A tuple that is set on the attribute after construction works."""
    return heard(player, tuple, later=True)


@situation(ways=("run",))
def sequence_set_later(player: Player) -> dict[str, Any]:
    """A sequence of a class of its own that is set on the attribute works."""
    return heard(player, UserList, later=True)


@situation(ways=("run",))
def generator_set_later(player: Player) -> dict[str, Any]:
    """A generator that is set on the attribute works, in two runs."""
    return heard(player, lambda parts: (part for part in parts), later=True)


@situation(ways=("run",))
def single_part_set_later(player: Player) -> dict[str, Any]:
    """A single part that is set on the attribute works."""
    seen: list[str] = []
    part = on("on_train_start", lambda *_: seen.append("a"))
    logger = CSVLogger(player.folder, "a")
    if player.is_reference:
        subject = player.make(callbacks=[part], loggers=[logger])
    else:
        subject = player.make()
        subject.facade.callbacks, subject.facade.loggers = part, logger
    subject.fit(1, train_loader())
    return {"callbacks": seen, "loggers": len(rows(logger).get("loss", []))}


@situation(ways=("run",))
def tuple_in_two_runs(player: Player) -> dict[str, Any]:
    """Parts from a generator set on the attribute are used in the second run too."""
    seen: list[str] = []
    part = on("on_train_epoch_end", lambda *_: seen.append("a"))
    subject = player.make(callbacks=[part]) if player.is_reference else player.make()
    if not player.is_reference:
        subject.facade.callbacks = (part for part in [part])
    subject.fit(1, train_loader()).fit(1, train_loader())
    return {"callbacks": seen}


NO_PARTS: dict[str, Callable[[], Any]] = {
    "a number": lambda: 42,
    "a string": lambda: "early_stopping",
    "a module": lambda: torch.nn.Linear(2, 2),
    "a class": lambda: C.EarlyStopping,
    "a function": lambda: print,
}


@situation(ways=("run",), expected=dict.fromkeys(NO_PARTS, True))
def no_callback(player: Player) -> dict[str, Any]:
    """What is no callback is refused by name."""
    return {name: _named(player, "callbacks", make()) for name, make in NO_PARTS.items()}


@situation(ways=("run",), expected=dict.fromkeys(NO_PARTS, True))
def no_logger(player: Player) -> dict[str, Any]:
    """What is no logger is refused by name."""
    return {name: _named(player, "loggers", make()) for name, make in NO_PARTS.items()}


@situation(ways=("run",), expected=dict.fromkeys(NO_PARTS, True))
def no_callback_set_later(player: Player) -> dict[str, Any]:
    """What is no callback is refused by name where it was set on the attribute."""
    found = {}
    for name, make in NO_PARTS.items():
        subject, wrong = player.make(), make()
        subject.facade.callbacks = [wrong]
        said = refusal(subject.fit, 1, train_loader())
        found[name] = _name_of(wrong) in said
    return found


@situation(ways=("run",), expected={"logger as callback": True, "callback as logger": True})
def parts_in_each_others_place(player: Player) -> dict[str, Any]:
    """A logger among the callbacks, or a callback among the loggers, is used or refused by name."""
    seen: list[str] = []
    logger = CSVLogger(player.folder, "a")
    callback = on("on_train_start", lambda *_: seen.append("a"))
    first, second = player.make(given={"callbacks": []}), player.make(given={"loggers": []})
    first.facade.callbacks, second.facade.loggers = [logger], [callback]
    said = [refusal(subject.fit, 1, train_loader()) for subject in (first, second)]
    return {
        "logger as callback": "CSVLogger" in said[0] or bool(rows(logger)),
        "callback as logger": "Acts" in said[1] or seen == ["a"],
    }


def _named(player: Player, place: str, wrong: Any) -> bool:
    def make_and_run() -> None:
        player.make(given={place: [wrong]}).fit(1, train_loader())

    return _name_of(wrong) in refusal(make_and_run)


def _name_of(value: Any) -> str:
    return (
        value.__name__
        if isinstance(value, type) or (callable(value) and hasattr(value, "__name__"))
        else repr(value)
        if isinstance(value, (int, str))
        else type(value).__name__
    )
