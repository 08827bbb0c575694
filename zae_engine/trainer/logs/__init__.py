"""Logs: what steps return, from the first value to the means of an epoch. They know no trainer."""
