"""Reports from the journal: alarm performance and shifts, as figures, text and one HTML page."""
