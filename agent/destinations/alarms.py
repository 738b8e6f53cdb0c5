"""Alarm and audit records as messages (pure)."""

from agent.core.records import Record, canonical_json


def encode(record: Record, after: int) -> bytes:
    """The stored bytes of the record, untouched, with ``after``, ``prev`` and ``hash`` put behind (spec/wire.md).

    A record that could not be journaled has no hashes yet: both are null.
    """
    body = record.body or canonical_json(record.fields)
    if record.seq and record.hash:
        chain = f'"prev":"{record.prev.hex()}","hash":"{record.hash.hex()}"'
    else:
        chain = '"prev":null,"hash":null'
    return b'%b,"after":%d,%b}' % (body[:-1], after, chain.encode())
