"""What people and platforms may ask of the running agent, and who may ask for what (spec/wire.md "Commands")."""

from agent.commands.remote import Commands, Origin

__all__ = ["Commands", "Origin"]
