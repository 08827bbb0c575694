"""Modes: the type of a trainer's mode."""

from __future__ import annotations

from typing import Literal

Mode = Literal["train", "test"]
