"""The journal: one durable sequence of everything that happened."""
