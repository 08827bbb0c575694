"""Utilities: files that are written whole, random states, interrupts. They know no trainer."""
