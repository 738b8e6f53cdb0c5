"""What people and platforms may ask of the running agent, and who may ask for what (spec/wire.md "Commands")."""
