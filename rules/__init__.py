"""The rule engine: pure, no I/O, no clock."""
