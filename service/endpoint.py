"""Endpoints: what may be one, which machines reach it, and whether a process listens there."""

from __future__ import annotations

import ipaddress
import socket

from onlinesvm.errors import ConfigError

__all__ = ["check_endpoint", "is_ipc_in_use", "is_local"]


def check_endpoint(endpoint: str) -> None:
    """Raise ConfigError unless `endpoint` is one of TCP or ipc."""
    transport, separator, address = endpoint.partition("://")
    if not separator or transport not in ("tcp", "ipc") or not address:
        raise ConfigError(f"endpoint: expected tcp://HOST:PORT or ipc://PATH, got {endpoint!r}")
    if transport == "ipc":
        return
    host, separator, port = address.rpartition(":")
    if not separator or not host or not (port == "*" or _is_port(port)):
        raise ConfigError(f"endpoint: expected tcp://HOST:PORT, got {endpoint!r}")


def is_local(endpoint: str) -> bool:
    """True if only this machine reaches an endpoint: 127.0.0.0/8, [::1], localhost and ipc."""
    transport, _, address = endpoint.partition("://")
    return transport == "ipc" or _is_loopback(address.rpartition(":")[0].strip("[]"))


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdigit() and int(text) <= 65_535


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_ipc_in_use(endpoint: str) -> bool:
    """True if a process listens at an ipc endpoint: ZeroMQ would replace it without an error."""
    transport, _, path = endpoint.partition("://")
    if transport != "ipc" or path.startswith("@") or path == "*":
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except OSError:
            return False
    return True
