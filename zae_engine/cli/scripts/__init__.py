"""Scripts: the files that ``zae example`` copies."""
