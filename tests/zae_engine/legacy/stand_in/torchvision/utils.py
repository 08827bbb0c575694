"""Names that an example of 0.7.6 imports at its beginning; nothing of it is called."""

make_grid = None
