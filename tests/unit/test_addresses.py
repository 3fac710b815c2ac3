"""Addresses as people write them."""

import pytest

from dinemic_engine import ids
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


NODE_ID = bytes(range(32))
NODE = ids.to_text(NODE_ID)


@pytest.mark.parametrize(
    ("text", "node_id", "place"),
    [
        ("example.org:1", None, ("example.org", 1)),
        ("[::1]:1", None, ("::1", 1)),
        (f"{NODE}@[::1]:1", NODE_ID, ("::1", 1)),
        (f"{NODE}@example.org:1", NODE_ID, ("example.org", 1)),
        (NODE, NODE_ID, None),
    ],
)
def test_an_address_says_where_or_whom_or_both(
    text: str, node_id: bytes | None, place: tuple[str, int] | None
) -> None:
    assert addresses.whereabouts_untrusted(text) == (node_id, place)


@pytest.mark.parametrize(
    "text",
    [
        *("", "@", "host", "::1", "@h:1", NODE[1:], NODE.upper()),
        *(f"{NODE}@", f"{NODE}@h", f"x{NODE}@h:1", f"{NODE}@{NODE}@h:1", f"{NODE}:1@h:1"),
    ],
)
def test_what_says_neither_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not an address of the form host:port"):
        addresses.whereabouts_untrusted(text)


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("127.0.0.1:7000", 7000),
        ("192.168.1.5:1", 1),
        ("169.254.3.4:1", 1),
        ("[::1]:65535", 65535),
        ("[2001:db8::1:0:5]:7000", 7000),
        ("[fd00::5]:7000", 7000),
    ],
)
def test_a_literal_is_an_ip_and_a_port_and_is_written_in_one_way(text: str, port: int) -> None:
    ip, read = addresses.literal_untrusted(text)
    assert read == port
    assert addresses.join(str(ip), port) == text


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("example.org:1", id="a name"),
        pytest.param("localhost:1", id="localhost"),
        pytest.param("10.0.0.1:0", id="port 0"),
        pytest.param("10.0.0.1:01", id="port 01"),
        pytest.param("10.0.0.01:1", id="octal or not"),
        pytest.param("167772161:1", id="one number"),
        pytest.param("10.1:1", id="two numbers"),
        pytest.param("0.0.0.0:1", id="unspecified"),
        pytest.param("[::]:1", id="unspecified v6"),
        pytest.param("224.0.0.251:1", id="multicast"),
        pytest.param("[ff02::1]:1", id="multicast v6"),
        pytest.param("255.255.255.255:1", id="broadcast"),
        pytest.param("240.0.0.1:1", id="reserved"),
        pytest.param("[fe80::1]:1", id="link-local v6 without its scope"),
        pytest.param("[fe80::1%eth0]:1", id="with a scope"),
        pytest.param("[2001:db8::1%1]:1", id="a scope on a global one"),
        pytest.param("[::ffff:127.0.0.1]:1", id="v4 in v6"),
        pytest.param("[2001:DB8::1]:1", id="upper case"),
        pytest.param("[2001:db8:0::1]:1", id="not shortened"),
        pytest.param("[10.0.0.1]:1", id="v4 in brackets"),
        pytest.param("10.0.0.1", id="no port"),
    ],
)
def test_what_others_cannot_dial_or_is_written_otherwise_is_no_literal(text: str) -> None:
    with pytest.raises(UsageError, match="address"):
        addresses.literal_untrusted(text)
