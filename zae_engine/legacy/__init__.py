"""Legacy: networks, layers, losses, data and tools of zae-engine 0.7.6, imported from a copy of it.

``python -m zae_engine.legacy install`` downloads the copy into the current environment, next to this package.
``status`` reports which copy is in use, and ``remove`` deletes it. The environment variable ``ZAE_ENGINE_LEGACY`` names
a folder with another copy. ``zae_engine.models``, ``nn_night``, ``loss``, ``data``, ``operation``, ``utils`` and
``examples`` are then imported from the copy. Their imports of ``zae_engine.trainer``, ``schedulers`` and ``metrics``
resolve to this package. A module of the copy is imported on first access.

>>> from zae_engine import legacy
>>> legacy.find()  # the folder of the copy that is in use, or None  # doctest: +SKIP
'/home/me/env/lib/python3.12/site-packages/zae_engine_legacy/zae_engine'
"""

from .places import PARTS, VARIABLE, VERSION, find

__all__ = ["PARTS", "VARIABLE", "VERSION", "find"]
