"""Launchers: running a trainer in several processes, and applying the results in the user's process."""
