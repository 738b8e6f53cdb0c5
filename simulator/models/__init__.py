"""Plant models, pure."""
