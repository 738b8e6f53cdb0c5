"""Plain data, ports and the clock; the standard library only, known to every other part."""
