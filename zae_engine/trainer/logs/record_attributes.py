"""Record attributes: the names under which a trainer shows its history and its losses."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, overload

from .value_buffer import ValueBuffer

H = TypeVar("H")


class LossHistoryAttribute:
    """The losses of a mode as a list, once they are read; the history holds a `ValueBuffer` until then."""

    def __init__(self, mode: str) -> None:
        self._mode = mode

    @overload
    def __get__(self, trainer: None, owner: type | None = None) -> LossHistoryAttribute: ...
    @overload
    def __get__(self, trainer: object, owner: type | None = None) -> list[Any]: ...
    def __get__(self, trainer: Any, owner: type | None = None) -> Any:
        return self if trainer is None else trainer._zae_state.records.history.losses[self._mode].to_list()

    def __set__(self, trainer: Any, losses: list[Any]) -> None:
        trainer._zae_state.records.history.losses[self._mode] = ValueBuffer(losses)


class HistoryAttribute(Generic[H]):
    """The history; a subclass may use the name for something else, because this is no data descriptor."""

    @overload
    def __get__(self, trainer: None, owner: type | None = None) -> HistoryAttribute[H]: ...
    @overload
    def __get__(self, trainer: object, owner: type | None = None) -> H: ...
    def __get__(self, trainer: Any, owner: type | None = None) -> Any:
        return self if trainer is None else trainer._zae_state.records.history
