"""One kind of condition per file."""
