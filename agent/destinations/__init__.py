"""Destinations: readers of the journal that deliver and prove it."""
