"""Launchers: running a trainer in several processes, and applying the results in the process of the user."""
