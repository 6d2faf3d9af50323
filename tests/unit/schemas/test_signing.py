"""Signatures hold over type, key and record, and over nothing else."""

import base64

import pytest
from cryptography.exceptions import InvalidSignature
from hypothesis import given, settings
from hypothesis import strategies as st

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


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=100), st.integers(0, 511), st.booleans())
def test_libsodium_signs_as_openssl_does_and_says_the_same_of_what_is_damaged(
    record: bytes, bit: int, damaged: bool
) -> None:
    value = VALUE[:HEADER_BYTES] + record
    header = ADA.sign("Halt", b"*", value)
    signature = bytearray(base64.b64decode(header[17:]))
    assert signature == ADA.private.sign(signed_content("Halt", b"*", value))
    signature[bit // 8] ^= damaged << bit % 8
    try:
        ADA.private.public_key().verify(bytes(signature), signed_content("Halt", b"*", value))
        expected = True
    except InvalidSignature:
        expected = False
    assert expected is not damaged
    assert holds(header[:17] + base64.b64encode(signature), ADA.public_key, "Halt", b"*", value) is expected


def test_nothing_holds_under_a_key_of_small_order() -> None:
    neutral = base64.b64encode(b"\1" + bytes(31)).decode()
    header = f"{key_id(neutral)}:".encode() + base64.b64encode(b"\1" + bytes(63))
    assert not holds(header, neutral, "Halt", b"*", VALUE)


def test_a_key_that_is_none_holds_for_nothing_and_never_raises() -> None:
    for no_key in ("", "AAAA", "not base64!", base64.b64encode(b"\xff" * 32).decode()):
        assert not holds(ADA.sign("Halt", b"*", VALUE), no_key, "Halt", b"*", VALUE)
