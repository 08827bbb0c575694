"""Hidden frames: IPython and pytest show the user's frames of an exception, without those of the packages below.

Both leave out a frame whose variables have ``__tracebackhide__``, all but the last one. A run passes through thirty
functions of Lightning and of this package, which cannot define that variable, so that it is set in the frames of the
exception. The exception and its traceback stay as they are: a debugger, and Python itself, still show all frames.
"""

from __future__ import annotations

import os
from types import FrameType, TracebackType

_PACKAGES = {"zae_engine", "zae_lightning", "lightning", "pytorch_lightning", "lightning_fabric"}
ALL_FRAMES = "ZAE_ENGINE_ALL_FRAMES"
"""The environment variable that switches hiding off."""


def hide_frames(traceback: TracebackType | None) -> None:
    """Hide the frames of this package and of Lightning in a traceback, and in the functions that have led to it.

    Parameters
    ----------
    traceback : traceback or None
        The traceback of the exception that ends a run; None for none.
    """
    if traceback is None or os.environ.get(ALL_FRAMES):
        return
    caller: FrameType | None = traceback.tb_frame
    while caller is not None and _is_ours(caller):
        _hide(caller)
        caller = caller.f_back
    while traceback is not None:
        if _is_ours(traceback.tb_frame):
            _hide(traceback.tb_frame)
        traceback = traceback.tb_next


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] in _PACKAGES


def _hide(frame: FrameType) -> None:
    variables = frame.f_locals
    if variables is frame.f_globals:  # the code of a module
        return
    if type(variables) is dict:  # a copy, before Python 3.13: it would keep the values alive
        variables.clear()
    variables["__tracebackhide__"] = True
