"""Performance: what exists to save microseconds a step, with the same answers as Lightning's own classes."""
