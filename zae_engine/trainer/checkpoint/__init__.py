"""Checkpoint: write the state of a trainer as plain values, and restore a trainer from it."""
