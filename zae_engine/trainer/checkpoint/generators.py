"""The random generators that loaders hold by themselves: ``DataLoader(..., generator=g)``, a sampler's too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

_WHERE = (
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
        By the place where each was found.
    """
    return {name: generator.get_state() for name, generator in _found(loader, valid_loader)}


def set_generator_states(states: Mapping[str, torch.Tensor], loader: Any, valid_loader: Any) -> None:
    """Set the states that `generator_states` returned, as far as the loaders have such generators."""
    for name, generator in _found(loader, valid_loader):
        if name in states:
            generator.set_state(states[name])


def _found(loader: Any, valid_loader: Any) -> Iterator[tuple[str, torch.Generator]]:
    for role, value in (("loader", loader), ("valid_loader", valid_loader)):
        for path in _WHERE:
            part = value
            for name in path:
                part = getattr(part, name, None)
            if isinstance(part, torch.Generator):
                yield ".".join((role, *path)), part
