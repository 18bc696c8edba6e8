"""Users: what each role may do, and permits that change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from onlinesvm.service.errors import KeyFileError
from onlinesvm.service.keys.permit import ANYONE, ROLES, Permit
from onlinesvm.service.protocol import MODELLESS, OPERATIONS, ROLE_OF, Request, RequestError
from onlinesvm.service.server.auth.users import Users
from tests.keyring import Keyring

KEY = "0" * 40
# Written out, so that a role that grows by mistake is noticed.
READ = {
    "ping", "predict", "explain", "features", "inspect", "labels", "stats", "models", "fetch",
}  # fmt: skip
MAY = {"read": READ, "learn": READ | {"learn", "resume", "lag", "label"}, "admin": set(OPERATIONS)}


@pytest.fixture
def users(tmp_path: Path) -> Users:
    return Users(Keyring(tmp_path / "ring").permits)


def is_allowed(users: Users, permit: Permit | None, op: str, **keys: Any) -> bool:
    try:
        users.check(permit, Request(op, 7, b"", **keys))
    except RequestError as error:
        assert (error.code, error.id) == ("FORBIDDEN", 7)
        return False
    return True


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("op", OPERATIONS)
def test_each_role_on_each_operation_and_model(users: Users, role: str, op: str) -> None:
    permit = Permit("alice", KEY, role, "spam*")
    assert is_allowed(users, permit, op, model="spam-eu") == (op in MAY[role])
    assert is_allowed(users, permit, op, model="ham") == (op in MAY[role] and op in MODELLESS)
    assert is_allowed(users, ANYONE, op, model="ham")
    assert not is_allowed(users, None, op, model="spam-eu")


def test_to_have_samples_held_takes_the_role_of_learning(users: Users) -> None:
    options = {"ttl_ms": 1000, "default": None}
    for role, allowed in (("read", False), ("learn", True), ("admin", True)):
        permit = Permit("alice", KEY, role)
        assert is_allowed(users, permit, "predict", options=options) == allowed


def test_every_operation_has_a_role() -> None:
    assert set(ROLE_OF) == set(OPERATIONS)
    assert set(ROLE_OF.values()) <= set(ROLES)


def test_an_operation_without_a_role_is_the_admins(users: Users) -> None:
    assert not is_allowed(users, Permit("alice", KEY, "learn"), "new")
    assert is_allowed(users, Permit("alice", KEY, "admin"), "new")


def test_both_models_of_a_copy_are_checked(users: Users) -> None:
    permit = Permit("alice", KEY, "admin", "spam*")
    for name, origin, allowed in (
        ("spam-1", "spam-2", True), ("spam-1", "ham", False), ("ham", "spam-1", False),
    ):  # fmt: skip
        assert is_allowed(users, permit, "create", model=name, options={"copy_of": origin}) == (
            allowed
        )


@pytest.mark.parametrize("op", ["learn", "resume", "lag"])
def test_the_names_of_producers_begin_with_the_prefix(users: Users, op: str) -> None:
    permit = Permit("alice", KEY, "learn", producers="mail-")
    assert is_allowed(users, permit, op, producer=b"mail-7")
    assert not is_allowed(users, permit, op, producer=b"mai")
    assert not is_allowed(users, permit, op, producer=b"\xffmail-7")
    assert is_allowed(users, permit, "learn")  # without a number, so without a name


def test_permits_are_read_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ring = Keyring(tmp_path / "ring")
    alice, bob = ring.permit("alice", "read"), ring.permit("bob", "read")
    users = Users(ring.permits)
    assert (users.has_keys, len(users)) == (True, 2)
    assert users.permit_of(alice.public) == alice
    assert users.is_permitted(bob.public) and not users.is_permitted("")
    ring.revoke("bob")
    changed = ring.permit("alice", "learn")
    assert users.reload() == []
    assert users.permit_of(alice.public) == changed
    assert users.permit_of(bob.public) is None
    # A damaged one permits nothing; without the folder nothing changes.
    (ring.permits / "alice.toml").write_text("public = ")
    (error,) = users.reload()
    assert "alice.toml" in error and error in caplog.text
    assert len(users) == 0
    ring.permit("alice")
    assert users.reload() == []
    ring.permits.rename(tmp_path / "gone")
    (error,) = users.reload()
    assert "No such file" in error and "stay as they were" in error
    assert users.is_permitted(alice.public)


def test_a_start_needs_permits_that_can_be_read(tmp_path: Path) -> None:
    ring = Keyring(tmp_path / "ring")
    ring.permit("alice")
    (ring.permits / "alice.toml").write_text("public = ")
    with pytest.raises(KeyFileError, match=r"alice\.toml"):
        Users(ring.permits)
    with pytest.raises(FileNotFoundError):
        Users(tmp_path / "none")


def test_without_keys_anyone_may_do_anything() -> None:
    users = Users()
    assert (users.has_keys, len(users), users.reload()) == (False, 0, [])
    assert users.permit_of("") is ANYONE
