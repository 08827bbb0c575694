"""Utilities: atomic writes, random states, imports, streams and interrupts. Nothing here imports a trainer."""
