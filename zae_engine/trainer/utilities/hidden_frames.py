"""Hidden frames: what shows an exception shows the user's frames, without those of the packages below.

IPython and pytest leave out a frame whose variables have ``__tracebackhide__``, all but the last one. A run passes
through thirty functions of Lightning and of this package, which cannot define that variable, so that it is set in the
frames of the exception. Python itself shows an exception that ends the program by `sys.excepthook`; if that is the
default one, another one takes its place, which leaves out the same frames. The exception and its traceback stay as they
are: a debugger, ``traceback.print_exc``, loggers and trackers of errors still have all frames.
"""

from __future__ import annotations

import os
import sys
import traceback as tracebacks
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
    if sys.excepthook is sys.__excepthook__:  # not that of a debugger, of an error tracker, or of the user
        sys.excepthook = show_exception


def show_exception(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Show an exception on stderr as Python does, without hidden frames; a `sys.excepthook`."""
    text = None if os.environ.get(ALL_FRAMES) else _text_of(error, traceback)
    if text is None or sys.stderr is None:
        sys.__excepthook__(kind, error, traceback)
    else:
        sys.stderr.write(text)


def _text_of(error: BaseException, traceback: TracebackType | None) -> str | None:
    """Return the traceback as text without hidden frames, and their number; None if there are none."""
    shown = tracebacks.TracebackException(type(error), error, traceback)
    is_hidden = [_is_hidden(frame) for frame, _ in tracebacks.walk_tb(traceback)]
    is_hidden[-1:] = [False] * len(is_hidden[-1:])
    if len(is_hidden) != len(shown.stack) or not any(is_hidden):  # `sys.tracebacklimit` cuts the stack
        return None
    frames = [frame for frame, hidden in zip(shown.stack, is_hidden, strict=True) if not hidden]
    shown.stack = tracebacks.StackSummary.from_list(frames)
    note = f"({sum(is_hidden)} frames of Lightning and zae-engine are left out; {ALL_FRAMES}=1 shows them.)\n"
    return "".join(shown.format()) + note


def _is_hidden(frame: FrameType) -> bool:
    return _is_ours(frame) and bool(frame.f_locals.get("__tracebackhide__"))


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] in _PACKAGES


def _hide(frame: FrameType) -> None:
    variables = frame.f_locals
    if variables is frame.f_globals:  # the code of a module
        return
    if type(variables) is dict:  # a copy, before Python 3.13: it would keep the values alive
        variables.clear()
    variables["__tracebackhide__"] = True
