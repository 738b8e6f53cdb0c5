"""Presets: rules that standards suggest, each with its source and how sure we are of it; an engineer accepts them."""
