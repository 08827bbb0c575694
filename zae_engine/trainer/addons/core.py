"""Add-on base: the class that add-ons subclass."""

from __future__ import annotations

from abc import ABC, abstractmethod

from .._protocol import T

__all__ = ["AddOnBase", "T"]


class AddOnBase(ABC):
    """Base class of add-ons. An add-on turns a trainer class into a subclass of it that does more.

    The subclass may take further keywords and override any method of `Trainer`; it calls ``super()`` for what it does
    not replace. Add-ons compose in any order: ``Trainer.add_on(A, B)`` is ``B.apply(A.apply(Trainer))``.

    Examples
    --------
    >>> from zae_engine.trainer import Trainer
    >>> class Shout(AddOnBase):
    ...     @classmethod
    ...     def apply(cls, base_cls):
    ...         class ShoutingTrainer(base_cls):
    ...             def __init__(self, *args, word="step", **kwargs):
    ...                 super().__init__(*args, **kwargs)
    ...                 self.word = word
    ...             def logging(self, step_dict):
    ...                 super().logging(step_dict)
    ...                 print(self.word.upper())
    ...         return ShoutingTrainer
    >>> Trainer.add_on(Shout).__name__
    'Trainer[Shout]'
    """

    @classmethod
    @abstractmethod
    def apply(cls, base_cls: type[T]) -> type[T]:
        """Return a subclass of ``base_cls`` with what the add-on adds.

        Parameters
        ----------
        base_cls : type
            `Trainer` or a subclass of it.

        Returns
        -------
        type
            The subclass.
        """
        raise NotImplementedError("Add-on must implement the apply method.")
