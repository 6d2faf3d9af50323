"""Key files: made once, private, and refused when they cannot be trusted."""

import stat
from pathlib import Path

import pytest

from autopilot.infra.keys import KeyFileError, ensure_key, load_key, public_key_of


def test_a_key_is_made_once_and_read_again(tmp_path: Path) -> None:
    first = ensure_key(tmp_path / "keys", "policy")
    again = ensure_key(tmp_path / "keys", "policy")
    assert first.principal == again.principal == "policy"
    assert first.public_key == again.public_key == load_key(tmp_path / "keys", "policy").public_key
    assert public_key_of(tmp_path / "keys", "policy") == first.public_key


def test_different_principals_have_different_keys(tmp_path: Path) -> None:
    assert ensure_key(tmp_path, "ada").public_key != ensure_key(tmp_path, "bob").public_key


def test_nobody_else_may_read_a_private_key_and_nothing_else_is_left_behind(tmp_path: Path) -> None:
    ensure_key(tmp_path / "keys", "ada")
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "keys" / "ada.key").stat().st_mode) == 0o600
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == ["ada.key", "ada.pub"]


def test_a_key_that_others_may_read_is_refused(tmp_path: Path) -> None:
    ensure_key(tmp_path, "ada")
    (tmp_path / "ada.key").chmod(0o644)
    with pytest.raises(KeyFileError, match="0600"):
        ensure_key(tmp_path, "ada")


def test_a_missing_key_is_not_made_by_loading_it(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="no such key"):
        load_key(tmp_path, "ada")
    with pytest.raises(KeyFileError, match="cannot be read"):
        public_key_of(tmp_path, "ada")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("text", "reason"), [("!!", "not base64"), ("YWJj", "3 bytes"), ("ä", "cannot be read")])
def test_what_is_no_key_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "ada.key").write_text(text, encoding="utf-8")
    (tmp_path / "ada.key").chmod(0o600)
    with pytest.raises(KeyFileError, match=reason):
        load_key(tmp_path, "ada")


@pytest.mark.parametrize("name", ["", "../ada", "a/b", ".hidden", "Ada", "a b", "ada-", "a" * 65, "ada\n"])
def test_a_name_that_leads_elsewhere_or_that_no_signer_list_takes_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(KeyFileError, match="no name of a principal"):
        ensure_key(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


def test_a_lost_public_half_is_written_again(tmp_path: Path) -> None:
    key = ensure_key(tmp_path, "ada")
    (tmp_path / "ada.pub").write_text("something else\n")
    ensure_key(tmp_path, "ada")
    assert public_key_of(tmp_path, "ada") == key.public_key
