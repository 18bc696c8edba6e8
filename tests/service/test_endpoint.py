"""Endpoints: which may be bound, and whether one is taken."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onlinesvm import Limits
from onlinesvm.errors import ConfigError
from onlinesvm.service.config import ServeConfig
from onlinesvm.service.endpoint import check_endpoint, is_ipc_in_use, is_local
from onlinesvm.service.errors import StateError
from onlinesvm.service.server.router import Router


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp://127.0.0.1:5577", "tcp://127.0.0.1:*", "tcp://127.9.8.7:1", "tcp://[::1]:5577",
        "tcp://localhost:65535", "ipc:///tmp/socket", "ipc://*", "ipc://@abstract",
    ],
)  # fmt: skip
def test_endpoints_of_this_machine_alone(endpoint: str) -> None:
    check_endpoint(endpoint)
    assert is_local(endpoint)
    assert ServeConfig(bind=endpoint).bind == endpoint


@pytest.mark.parametrize(
    "endpoint",
    [
        "tcp://0.0.0.0:5577", "tcp://*:5577", "tcp://[::]:5577", "tcp://192.168.0.1:5577",
        "tcp://128.0.0.1:1", "tcp://eth0:5577", "tcp://example.com:5577",
    ],
)  # fmt: skip
def test_endpoints_that_other_machines_reach_need_keys(endpoint: str) -> None:
    check_endpoint(endpoint)
    assert not is_local(endpoint)
    with pytest.raises(ConfigError, match=r"can be reached from other machines.*--key, --allow"):
        ServeConfig(bind=endpoint)
    assert ServeConfig(bind=endpoint, key="daemon.secret", allow="permits").bind == endpoint


@pytest.mark.parametrize(
    "endpoint",
    [
        "", "127.0.0.1:5577", "tcp:/127.0.0.1:5577", "tcp://", "tcp://127.0.0.1", "tcp://:5577",
        "tcp://127.0.0.1:", "tcp://127.0.0.1:http", "tcp://127.0.0.1:65536", "tcp://127.0.0.1:-1",
        "tcp://127.0.0.1:٣", "ipc://", "udp://127.0.0.1:1", "inproc://a", "pgm://127.0.0.1:1",
    ],
)  # fmt: skip
@pytest.mark.parametrize("keys", [{}, {"key": "daemon.secret", "allow": "permits"}])
def test_bad_endpoints_are_refused(endpoint: str, keys: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"expected tcp://HOST:PORT.*, got"):
        check_endpoint(endpoint)
    with pytest.raises(ConfigError, match=r"expected tcp://HOST:PORT.*, got"):
        ServeConfig(bind=endpoint, **keys)


@given(host=st.text(max_size=12), port=st.text(max_size=6) | st.just("1"))
def test_no_text_raises_anything_else(host: str, port: str) -> None:
    try:
        check_endpoint(f"tcp://{host}:{port}")
        is_local(f"tcp://{host}:{port}")
    except ConfigError as error:
        assert "endpoint: " in str(error)


@given(parts=st.lists(st.integers(0, 255), min_size=4, max_size=4))
def test_only_loopback_addresses_are_local(parts: list[int]) -> None:
    endpoint = f"tcp://{'.'.join(map(str, parts))}:5577"
    assert is_local(endpoint) == (parts[0] == 127)


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_an_ipc_endpoint_is_taken_while_somebody_listens(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    endpoint = f"ipc://{path}"
    assert not is_ipc_in_use(endpoint)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert is_ipc_in_use(endpoint)
        with pytest.raises(StateError, match="Address already in use"):
            Router(endpoint, Limits())
    assert not is_ipc_in_use(endpoint)  # a file that a process left
    router = Router(endpoint, Limits())
    assert router.endpoint == endpoint
    router.close()


def test_two_daemons_at_one_ipc_endpoint(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/socket"
    router = Router(endpoint, Limits())
    with pytest.raises(StateError, match=f"cannot bind {endpoint}: Address already in use"):
        Router(endpoint, Limits())
    router.close()


def test_two_daemons_at_one_port() -> None:
    router = Router("tcp://127.0.0.1:*", Limits())
    with pytest.raises(StateError, match=f"cannot bind {router.endpoint}: Address already in use"):
        Router(router.endpoint, Limits())
    router.close()


@pytest.mark.parametrize(
    "endpoint", ["tcp://127.0.0.1:*", "tcp://localhost:*", "tcp://[::1]:*", "ipc://*"]
)
def test_the_endpoint_is_the_real_one(endpoint: str) -> None:
    if "::1" in endpoint and not has_ipv6():
        pytest.skip("this machine has no IPv6")
    router = Router(endpoint, Limits())
    assert "*" not in router.endpoint
    router.close()


@pytest.mark.parametrize("endpoint", ["tcp://203.0.113.1:5577", f"ipc:///{'x' * 200}"])
def test_an_endpoint_that_cannot_be_bound(endpoint: str) -> None:
    with pytest.raises(StateError, match="cannot bind"):
        Router(endpoint, Limits())
