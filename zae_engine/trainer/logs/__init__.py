"""Logs: the values that steps return, from the first value to the means of an epoch. Nothing here imports a trainer."""
