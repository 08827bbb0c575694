"""Command line: ``zae doctor``, ``example``, ``tree``, ``hello`` and ``legacy``; also ``python -m zae_engine.cli``.

A module here imports torch, Lightning and other packages only when a command reports on them.
"""
