"""Checkpoint: the state of a trainer as plain values, and a trainer restored from it."""
