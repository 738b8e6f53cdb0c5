"""Rules and alarms: a pure function of journal records (spec/rules.md); no clock, no I/O."""
