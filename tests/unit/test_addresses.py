"""Addresses as people write them."""

import pytest

from dinemic_engine.errors import UsageError
from dinemic_transport import addresses


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:7000", "127.0.0.1", 7000),
        ("example.org:0", "example.org", 0),
        ("[::1]:65535", "::1", 65535),
        ("[fe80::1%eth0]:1", "fe80::1%eth0", 1),
    ],
)
def test_an_address_splits_and_joins_to_itself(text: str, host: str, port: int) -> None:
    assert addresses.split_untrusted(text) == (host, port)
    assert addresses.join(host, port) == text


@pytest.mark.parametrize(
    "text",
    [
        *("", ":", "host", "host:", ":80", "::1:80", "[::1]", "[::1:80", "[host]:80", "[[::1]]:1"),
        *("host:65536", "host:-1", "host:\u0663", "host: 1", "host:000080", "a b:1", "a\n:1"),
        "x" * 256 + ":1",
    ],
)
def test_anything_else_is_refused_and_shown(text: str) -> None:
    with pytest.raises(UsageError, match="host:port"):
        addresses.split_untrusted(text)
