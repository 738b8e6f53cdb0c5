"""Drivers: from a device on the wire to batches of readings."""
