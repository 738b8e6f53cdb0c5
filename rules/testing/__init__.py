"""Tests of rules in YAML, run in virtual time: signals in, transitions out (docs/rule-tests.md)."""
