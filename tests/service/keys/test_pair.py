"""Pairs of keys and their files."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm.service.errors import KeyFileError
from onlinesvm.service.keys.pair import create_pair, is_key, public_key_of, read_pair


def test_a_new_pair_is_read_back(tmp_path: Path) -> None:
    secret, public = create_pair("alice", tmp_path / "keys")
    assert (secret.name, public.name) == ("alice.secret", "alice.public")
    pair = read_pair(secret)
    assert zmq.curve_public(pair.secret.encode()).decode() == pair.public
    assert public_key_of(public) == public_key_of(str(public)) == pair.public
    assert public_key_of(pair.public) == pair.public
    assert pair.secret not in public.read_text()
    assert pair.secret not in repr(pair)


def test_only_the_owner_can_read_and_enter(tmp_path: Path) -> None:
    for path in create_pair("alice", tmp_path / "keys"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == [
        "alice.public", "alice.secret",
    ]  # fmt: skip


@pytest.mark.parametrize("taken", ["alice.secret", "alice.public"])
def test_a_pair_replaces_no_file_and_follows_no_link(tmp_path: Path, taken: str) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    target = tmp_path / "target"
    (folder / taken).symlink_to(target)
    with pytest.raises(FileExistsError):
        create_pair("alice", folder)
    assert not target.exists()
    assert [path.name for path in folder.iterdir()] == [taken]


@pytest.mark.parametrize("name", ["", ".alice", "a/b", "../a", "a b", "ä", "a" * 65, "a\n"])
def test_a_name_that_will_not_do(tmp_path: Path, name: str) -> None:
    with pytest.raises(KeyFileError, match="expected a name of 1 to 64"):
        create_pair(name, tmp_path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610])
def test_a_secret_that_others_can_reach_is_refused(tmp_path: Path, mode: int) -> None:
    secret, _ = create_pair("alice", tmp_path / "keys")
    secret.chmod(mode)
    with pytest.raises(KeyFileError, match=r"only its owner can read \(chmod 600\), got mode"):
        read_pair(secret)


def test_a_public_key_that_others_can_change_is_refused(tmp_path: Path) -> None:
    _, public = create_pair("alice", tmp_path / "keys")
    public.chmod(0o644)
    assert public_key_of(public)
    public.chmod(0o664)
    with pytest.raises(KeyFileError, match="only its owner can change"):
        public_key_of(public)


def test_damaged_files(tmp_path: Path) -> None:
    secret, public = create_pair("alice", tmp_path / "keys")
    other, _ = create_pair("bob", tmp_path / "keys")
    whole = secret.read_text()
    for text, says in (
        ("", "expected a secret key"),
        ("\0", "got no TOML"),
        ("\xff", "got no TOML"),
        ("a" * 5000, "expected at most 4096 bytes"),
        (public.read_text(), "expected a secret key"),
        ('secret = "short"\n', "expected secret as 40 characters"),
        ("secret = 5\n", "expected secret as 40 characters"),
        (whole.replace(read_pair(secret).public, read_pair(other).public), "got another"),
    ):
        secret.write_bytes(text.encode("latin-1"))
        with pytest.raises(KeyFileError, match=says) as caught:
            read_pair(secret)
        assert str(secret) in str(caught.value)
    with pytest.raises(KeyFileError, match="got a secret one: it stays with its owner"):
        public_key_of(other)
    with pytest.raises(FileNotFoundError):
        public_key_of(tmp_path / "none")
    with pytest.raises(OSError, match="expected a regular file, got a folder"):
        read_pair(tmp_path)


@given(raw=st.binary(min_size=32, max_size=32))
def test_every_key_of_32_bytes_is_one(raw: bytes) -> None:
    from zmq.utils import z85

    assert is_key(z85.encode(raw).decode())


@given(text=st.text(max_size=45) | st.text(alphabet="0#$aZ", min_size=40, max_size=40))
def test_no_other_text_is_a_key(text: str) -> None:
    from zmq.utils import z85

    if is_key(text):
        assert z85.encode(z85.decode(text)).decode() == text
