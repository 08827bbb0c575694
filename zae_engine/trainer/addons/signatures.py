"""Signatures: what type checkers see of the constructors of classes with add-ons; nothing of it runs.

A trainer's own keywords, and those of its class, are arguments of any type here: an add-on passes them on.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal

from .mix_precision import Name, PrecisionMixerMixin
from .mpu import MultiGPUMixin
from .state_manager import StateManagerMixin
from .web_logger import NeptuneLoggerMixin, WandBLoggerMixin, WebLoggerParams


class StateManagerSignature(StateManagerMixin):
    """The constructor with `StateManagerAddon`, which needs ``save_path``."""

    def __init__(
        self,
        *args: Any,
        save_path: str | os.PathLike[str],
        save_format: Literal["ckpt", "safetensor"] = "ckpt",
        save_every: int | None = None,
        **kwargs: Any,
    ) -> None: ...


class AddOnsSignature(StateManagerMixin, WandBLoggerMixin, NeptuneLoggerMixin, PrecisionMixerMixin, MultiGPUMixin):
    """The constructor with several add-ons: the keywords of all of them."""

    def __init__(
        self,
        *args: Any,
        save_path: str | os.PathLike[str] | None = None,
        save_format: Literal["ckpt", "safetensor"] = "ckpt",
        save_every: int | None = None,
        web_logger: WebLoggerParams | None = None,
        precision: Literal["auto"] | Name | Sequence[Name] = "auto",
        init_method: str | None = None,
        **kwargs: Any,
    ) -> None: ...
