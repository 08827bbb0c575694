"""Generators: save and restore the random generators of loaders, such as ``DataLoader(..., generator=g)``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

_ATTRIBUTE_PATHS = (
    ("generator",),
    ("sampler", "generator"),
    ("batch_sampler", "generator"),
    ("batch_sampler", "sampler", "generator"),
)


def generator_states(loader: Any, valid_loader: Any) -> dict[str, torch.Tensor]:
    """Return the states of the generators of both loaders.

    Parameters
    ----------
    loader, valid_loader : object
        The loaders, or None.

    Returns
    -------
    dict of str to torch.Tensor
        The states by the attribute path of each generator.
    """
    return {name: generator.get_state() for name, generator in _generators(loader, valid_loader)}


def set_generator_states(states: Mapping[str, torch.Tensor], loader: Any, valid_loader: Any) -> None:
    """Restore the states that `generator_states` returned. A state without a generator at its path is ignored."""
    for name, generator in _generators(loader, valid_loader):
        if name in states:
            generator.set_state(states[name])


def _generators(loader: Any, valid_loader: Any) -> Iterator[tuple[str, torch.Generator]]:
    for role, root in (("loader", loader), ("valid_loader", valid_loader)):
        for path in _ATTRIBUTE_PATHS:
            value = root
            for name in path:
                value = getattr(value, name, None)
            if isinstance(value, torch.Generator):
                yield ".".join((role, *path)), value
