"""MQTT 5: readings, alarms, audit, retained state, commands (spec/wire.md)."""
