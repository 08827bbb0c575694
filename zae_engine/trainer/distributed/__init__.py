"""Distributed: processes, their shares of the data, merged logs, averaged gradients. Nothing here imports a trainer."""
