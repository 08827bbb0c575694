"""Storage: the files of a saved state, written together and read without running code. It imports no trainer."""
