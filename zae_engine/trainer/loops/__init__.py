"""Loops: the order of events in a batch, a phase, an epoch and a run. Only these modules call the user's methods."""
