"""Recorded data in files: rows of time, tag, value and quality, read in runs of one time."""
