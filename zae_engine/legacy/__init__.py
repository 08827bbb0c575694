"""The bridge to zae-engine 0.7.6: its networks, layers, losses, data and tools, from a copy of it.

``python -m zae_engine.legacy install`` fetches the copy into the current environment, beside this package; ``status``
says what there is, ``remove`` takes it away. The environment variable ``ZAE_ENGINE_LEGACY`` names a folder with another
copy. Then ``zae_engine.models``, ``nn_night``, ``loss``, ``data``, ``operation``, ``utils`` and ``examples`` are those
of the copy, and what they import from ``zae_engine.trainer``, ``schedulers`` and ``metrics`` is this package's. Nothing
of the copy is imported before it is asked for.

>>> from zae_engine import legacy
>>> legacy.find()  # the folder of the copy that is in use; None without one  # doctest: +SKIP
'/home/me/env/lib/python3.12/site-packages/zae_engine_legacy/zae_engine'
"""

from .places import PARTS, VARIABLE, VERSION, find

__all__ = ["PARTS", "VARIABLE", "VERSION", "find"]
