"""Signatures hold over type, key and record, and over nothing else."""

import base64

import pytest

from autopilot.schemas.codec import HEADER_BYTES
from autopilot.schemas.signing import SigningKey, holds, key_id, signed_content

ADA = SigningKey.from_bytes("ada", b"a" * 32)
BOB = SigningKey.from_bytes("bob", b"b" * 32)
VALUE = b"\0\0\0\0\x07" + b"record"


def test_a_signature_holds_for_what_was_signed() -> None:
    header = ADA.sign("Halt", b"*", VALUE)
    assert header.startswith(key_id(ADA.public_key).encode() + b":")
    assert holds(header, ADA.public_key, "Halt", b"*", VALUE)


@pytest.mark.parametrize(
    ("event_type", "key", "value"),
    [("Resume", b"*", VALUE), ("Halt", b"shop", VALUE), ("Halt", b"*", VALUE + b"!"), ("Halt", b"*", VALUE[:-1])],
)
def test_it_does_not_hold_for_anything_else(event_type: str, key: bytes, value: bytes) -> None:
    assert not holds(ADA.sign("Halt", b"*", VALUE), ADA.public_key, event_type, key, value)


def test_it_holds_whichever_registry_numbered_the_schema() -> None:
    renumbered = b"\0\0\0\x01\x02" + VALUE[HEADER_BYTES:]
    assert holds(ADA.sign("Halt", b"*", VALUE), ADA.public_key, "Halt", b"*", renumbered)


def test_it_does_not_hold_under_another_key_or_under_a_false_name() -> None:
    header = ADA.sign("Halt", b"*", VALUE)
    assert not holds(header, BOB.public_key, "Halt", b"*", VALUE)
    renamed = key_id(BOB.public_key).encode() + header[16:]
    assert not holds(renamed, BOB.public_key, "Halt", b"*", VALUE)


@pytest.mark.parametrize(
    "header", [b"", b":", b"\xff\xfe", b"no colon", key_id(ADA.public_key).encode() + b":not base64!"]
)
def test_a_malformed_header_never_holds_and_never_raises(header: bytes) -> None:
    assert not holds(header, ADA.public_key, "Halt", b"*", VALUE)


def test_type_and_key_cannot_run_into_each_other() -> None:
    assert signed_content("A", b"bc", VALUE) != signed_content("Ab", b"c", VALUE)
    assert signed_content("A", b"b", b"\0" * 5 + b"c") != signed_content("A", b"bc", b"\0" * 5)


def test_a_generated_key_differs_each_time_and_its_bytes_give_it_again() -> None:
    one, other = SigningKey.generate("ada"), SigningKey.generate("ada")
    assert one.public_key != other.public_key
    again = SigningKey.from_bytes("ada", one.private.private_bytes_raw())
    assert again.public_key == one.public_key
    assert len(base64.b64decode(one.public_key)) == 32
