"""Composition: installing add-ons on a trainer class, under a name that pickle can resolve."""

from __future__ import annotations

from typing import Any
from weakref import WeakValueDictionary

from .._protocol import T
from .lightning_objects import with_lightning_object

_COMPOSED: WeakValueDictionary[tuple[type, tuple[Any, ...]], type] = WeakValueDictionary()


def install(cls: type, add_ons: tuple[Any, ...]) -> Any:
    """Return ``cls`` with the add-ons installed, the first one innermost.

    The class is named after both, ``MyTrainer[StateManagerAddon, WandBLoggerAddon]`` for instance.

    Parameters
    ----------
    cls : type
        `Trainer` or a subclass.
    add_ons : tuple of type
        Classes with an ``apply`` class method, or instances of Lightning callbacks, loggers and strategies.

    Returns
    -------
    type
        A subclass of ``cls``, or ``cls`` itself if there are no add-ons.

    Raises
    ------
    TypeError
        If something has no ``apply``, or its ``apply`` returns no class.
    """
    extended = cls
    for add_on in add_ons:
        if callable(getattr(add_on, "apply", None)):
            made = add_on.apply(extended)
        elif (made := with_lightning_object(extended, add_on)) is None:
            raise TypeError(
                f"add_on got {add_on!r}, which has no apply(); give subclasses of AddOnBase, or instances of Lightning "
                f"callbacks, loggers and strategies."
            )
        if not isinstance(made, type):
            raise TypeError(f"{add_on!r}.apply returned {made!r}; it must return a subclass of what it got.")
        extended = made
    if extended is not cls:
        if "_zae_made_from" in cls.__dict__:  # Trainer.add_on(A).add_on(B) is Trainer.add_on(A, B)
            cls, earlier = cls._zae_made_from  # type: ignore[attr-defined]
            add_ons = (*earlier, *add_ons)
        names = ", ".join(map(_name, add_ons))
        extended.__name__ = f"{cls.__name__}[{names}]"
        extended.__qualname__ = f"{cls.__qualname__}[{names}]"
        extended.__module__ = cls.__module__
        extended._zae_made_from = (cls, add_ons)  # type: ignore[attr-defined]
        _COMPOSED[cls, add_ons] = extended
    return extended


def with_mixin(base_cls: type[T], mixin: type, name: str) -> type[T]:
    """Return a class that puts a mixin before ``base_cls``; ``base_cls`` itself if it has the mixin already.

    Parameters
    ----------
    base_cls : type
        `Trainer` or a subclass.
    mixin : type
        What an add-on adds.
    name : str
        The name of the new class, until `install` names it after its add-ons.
    """
    if issubclass(base_cls, mixin):
        return base_cls
    combined: type[T] = type(name, (mixin, base_cls), {})
    return combined


def add_ons_of(cls: type) -> list[str]:
    """Return the names of the add-ons of a class and its bases, the innermost first."""
    names = []
    for base in reversed(cls.__mro__):
        if "_zae_add_on" in base.__dict__:  # a mixin, from `with_mixin` or from a class statement of the user's
            names.append(base.__dict__["_zae_add_on"])
        names += [_name(add_on) for add_on in base.__dict__.get("_zae_made_from", (None, ()))[1]]
    return list(dict.fromkeys(names))


def _name(add_on: Any) -> str:
    return str(getattr(add_on, "__name__", type(add_on).__name__))


def reduce(instance: Any, default: Any) -> Any:
    """Return what pickle needs of an instance: the default, unless `install` made its very class."""
    made_from = type(instance).__dict__.get("_zae_made_from")
    if made_from is None:
        return default
    return (_restore, made_from, *default[2:])


def _restore(cls: Any, add_ons: tuple[Any, ...]) -> Any:
    made: Any = _COMPOSED.get((cls, add_ons)) or install(cls, add_ons)
    return made.__new__(made)
