"""The agent: from polled batches to proven delivery."""
