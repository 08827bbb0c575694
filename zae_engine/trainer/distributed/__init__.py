"""Distributed: several processes, their shares of the data, one log and one gradient. They know no trainer."""
