"""Display: the progress bar, the epoch lines, the live plot, and the summary of a trainer."""
