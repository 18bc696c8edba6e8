"""The folder of permits."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm.service.errors import KeyFileError
from onlinesvm.service.keys.folder import read_permits, remove_permit, write_permit
from onlinesvm.service.keys.permit import ROLES, Permit
from tests.keyring import Keyring

TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=64)


@pytest.fixture
def ring(tmp_path: Path) -> Keyring:
    return Keyring(tmp_path / "ring")


def test_permits_are_read_back_by_name(ring: Keyring) -> None:
    made = [
        ring.permit("bob", "read"),
        ring.permit("alice", "learn", models="spam*", producers="mail-"),
    ]
    assert read_permits(ring.permits) == (made[::-1], [])
    path = ring.permits / "alice.toml"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@given(models=TEXTS, producers=TEXTS, role=st.sampled_from(ROLES))
def test_any_glob_and_prefix_are_read_back(
    tmp_path_factory: pytest.TempPathFactory, models: str, producers: str, role: str
) -> None:
    folder = tmp_path_factory.mktemp("permits", numbered=True)
    folder.chmod(0o700)
    permit = Permit("alice", "0" * 40, role, models, producers)
    write_permit(folder, permit)
    assert read_permits(folder) == ([permit], [])


def test_a_permit_takes_the_place_of_the_one_before(ring: Keyring) -> None:
    ring.permit("alice", "read")
    permit = ring.permit("alice", "admin")
    assert read_permits(ring.permits) == ([permit], [])
    remove_permit(ring.permits, "alice")
    assert read_permits(ring.permits) == ([], [])
    with pytest.raises(KeyFileError, match="expected a permit of alice, got none"):
        remove_permit(ring.permits, "alice")
    with pytest.raises(KeyFileError, match="expected a name"):
        remove_permit(ring.permits, "../alice")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('role = "read"', 'role = "king"', "expected role as one of read, learn, admin"),
        ('role = "read"', "", "expected role as one of read, learn, admin, got None"),
        ('role = "read"', 'role = ["read"]', "expected role as one of"),
        ('role = "read"', 'role = "read"\nrole = "admin"', "got no TOML"),
        ('role = "read"', 'role = "read"\nmodel = "x"', "expected public, role, models, producers"),
        ('models = "*"', "models = 5", "models: expected up to 64"),
        ('models = "*"', f'models = "{"*" * 65}"', "models: expected up to 64"),
        ('producers = ""', 'producers = "ä"', "producers: expected up to 64"),
        ("public = ", "public = 5 # ", "expected public as 40 characters of Z85, got another"),
        ("public = ", "# ", "expected public as 40 characters of Z85, got none"),
    ],
)
def test_a_damaged_permit_permits_nothing(ring: Keyring, old: str, new: str, says: str) -> None:
    other = ring.permit("bob")
    ring.permit("alice", "read")
    path = ring.permits / "alice.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    permits, (error,) = read_permits(ring.permits)
    assert permits == [other]
    assert says in error and str(path) in error


def test_a_key_of_two_users_permits_nothing(ring: Keyring) -> None:
    other = ring.permit("bob")
    permit = ring.permit("alice", "read")
    write_permit(ring.permits, Permit("mallory", permit.public, "admin"))
    permits, (error,) = read_permits(ring.permits)
    assert permits == [other]
    assert "expected a key of its own for each user, got one of alice, mallory" in error


def test_what_others_can_change_is_refused(ring: Keyring) -> None:
    ring.permit("alice")
    (ring.permits / "alice.toml").chmod(0o646)
    permits, (error,) = read_permits(ring.permits)
    assert permits == [] and "only its owner can change" in error
    ring.permits.chmod(0o770)
    with pytest.raises(KeyFileError, match=r"change \(chmod 700\), got mode 770"):
        read_permits(ring.permits)
    with pytest.raises(KeyFileError, match="expected a folder of permits, got a file"):
        read_permits(ring.pairs / "daemon.public")
    with pytest.raises(FileNotFoundError):
        read_permits(ring.permits / "none")


@pytest.mark.parametrize(
    ("glob", "name", "matches"),
    [
        ("*", "anything", True), ("spam", "spam", True), ("spam", "spam2", False),
        ("spam*", "spam-eu", True), ("spam*", "ham", False), ("s?am", "scam", True),
        ("[ab]*", "bob", True), ("", "a", False), ("a|b", "a", False), (".*", "a", False),
    ],
)  # fmt: skip
def test_globs(glob: str, name: str, matches: bool) -> None:
    assert Permit("u", "0" * 40, "read", glob).has_model(name) == matches
