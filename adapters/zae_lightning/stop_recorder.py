"""Stop recorder: who has stopped a run.

A callback stops a run by ``trainer.should_stop = True``, and Lightning keeps no record of it.
"""

from __future__ import annotations

import sys
from typing import Any

_PACKAGES = ("lightning", "pytorch_lightning", "zae_lightning", "zae_engine")


class StopRecorder:
    """The part of an ``L.Trainer`` that remembers who has set ``should_stop``.

    Attributes
    ----------
    stopped_by : Callback, str or None
        The callback that has stopped the run, or the name of the function.
    """

    callbacks: list[Any]
    stopped_by: Any = None
    _should_stop = False

    @property
    def should_stop(self) -> bool:
        """Whether the run is to stop; callbacks set it."""
        return self._should_stop

    @should_stop.setter
    def should_stop(self, value: bool) -> None:
        if not value:
            self.stopped_by = None
        elif not self._should_stop:
            self.stopped_by = self._caller()
        self._should_stop = value

    def _caller(self) -> Any:
        """Return the callback whose code runs, or the name of the function that has called the setter.

        The search ends at Lightning's frames: reading the variables of a frame keeps them alive for as long as it runs.
        """
        frame: Any = sys._getframe(2)
        name = frame.f_code.co_name
        if (owner := frame.f_locals.get("self")) is not None:
            name = f"{type(owner).__name__}.{name}"
        while frame is not None:
            for value in (frame.f_locals.get("self"), frame.f_locals.get("callback")):
                if any(value is callback for callback in self.callbacks):
                    return value
            if frame.f_globals.get("__name__", "").partition(".")[0] in _PACKAGES:
                break
            frame = frame.f_back
        return name
