"""Add-ons extend a trainer class: ``Trainer.add_on(SomeAddOn)``."""

from .core import AddOnBase

__all__ = ["AddOnBase"]
