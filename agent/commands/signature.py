"""Signatures of commands: Ed25519 over one canonical form, so that any language can sign (docs/commands.md)."""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final

from agent.core.records import canonical_json

PREFIX: Final = b"davy-command-v1\n"
"""Stands before the signed text, so that a signature made for something else is none for a command."""
KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64


def signed_bytes(message: Mapping[str, Any]) -> bytes:
    """What is signed: the prefix and the message without ``signature`` as canonical JSON.

    Canonical: keys sorted by code point, no spaces, UTF-8 with nothing escaped but what JSON must escape, integers in
    full. A command holds no fractions, so nothing else is left to choice.
    """
    return PREFIX + canonical_json({key: value for key, value in message.items() if key != "signature"})


class CommandKey:
    """The public key of whoever may send commands; ``text`` is the base64 of its 32 bytes."""

    def __init__(self, text: str) -> None:
        """ValueError where the text is no key."""
        self._raw = decode_key(text)

    @cached_property
    def fingerprint(self) -> str:
        """Names the key in audit records: the first 16 hex digits of its SHA-256."""
        return hashlib.sha256(self._raw).hexdigest()[:16]

    def proves(self, message: Mapping[str, Any], signature: str) -> bool:
        """Tell whether ``signature`` (base64) was made over this message with the private half."""
        # Here, not above: only a site with a command key pays for the library.
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

        try:
            raw = base64.b64decode(signature, validate=True)
            Ed25519PublicKey.from_public_bytes(self._raw).verify(raw, signed_bytes(message))
        except (binascii.Error, ValueError, InvalidSignature):
            return False
        return True


def decode_key(text: str) -> bytes:
    """The 32 bytes of a public key in base64; ValueError for anything else."""
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("expected the 32 bytes of an Ed25519 public key in base64") from error
    if len(raw) != KEY_BYTES:
        raise ValueError(f"expected the 32 bytes of an Ed25519 public key in base64, found {len(raw)} bytes")
    return raw
