"""The typed usage is for type checkers; nothing of it runs."""

collect_ignore = ["usage.py", "check.py"]
