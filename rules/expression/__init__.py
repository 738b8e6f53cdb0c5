"""The expression language of rules: parsed by its own grammar, checked at load, compiled once (spec/rules.md C7)."""
