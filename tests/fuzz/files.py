"""Targets for files: bundles, key files, keyrings, exports of keys, `dinemic.toml`.

A file of keys ends in a sum over all before it. An input stands for what is before it, and the sum
is made here: otherwise nothing but the sum would ever be tried.
"""

from __future__ import annotations

import functools
import hashlib
import io
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from dinemic import key_export, passphrases, private_files
from dinemic.config import Config
from dinemic.keyring import ObjectKeys, _unlock_untrusted, decode_keys_untrusted, encode_keys
from dinemic_engine import bundle, canonical
from dinemic_engine.bundle_audit import audit_bundle
from dinemic_engine.canonical import Value
from dinemic_engine.errors import (
    BundleError,
    InvalidEvent,
    StoreError,
    UsageError,
)
from dinemic_engine.keys import SealingKey, SigningKey
from fuzz.target import Target, arguments
from support import graphs
from support.graphs import OWNER
from support.hostile_cases import HOMES, LOG

PATH: Final = Path("file")
PASSPHRASE: Final = "correct horse"
CHEAP: Final = 1 << 10
"""KiB that a derivation here may fill, all passes together: what costs more is not tried."""

_NONCE: Final = b"nonce of 12 "
_SEAL: Final = ChaCha20Poly1305(b"k" * 32)


# -- bundles ------------------------------------------------------------------------------------


def a_bundle(data: bytes) -> None:
    """Read to its end it has one spelling; an audit of it says what is wrong."""
    with suppress(BundleError):
        events = list(bundle.read_untrusted(io.BytesIO(data)))
        out = io.BytesIO()
        assert bundle.write(out, [events]) == len(events)
        assert out.getvalue() == data
    for file in (data, _with_sum(data)):
        with suppress(BundleError):  # no bundle at all
            report = audit_bundle(io.BytesIO(file))
            assert report.signatures <= report.events


def _with_sum(data: bytes) -> bytes:
    """A bundle of which only the sum at its end is sure to be right."""
    return data[:-32] + hashlib.sha256(data[:-32]).digest()


def _bundles() -> list[bytes]:
    found = []
    for objects in ([], [[LOG[0].raw]], [[each.raw] for each in HOMES], [[e.raw for e in LOG]]):
        out = io.BytesIO()
        bundle.write(out, objects)
        found.append(out.getvalue())
    empty, one, *_ = found
    begin = empty[: -4 - 8 - 32]
    counts = [begin + bytes(4) + b"\1" * 8 + bytes(32), empty + b"more", begin + b"\xff" * 4]
    return [*found, one[:-60], b"dinemic/bundle/2\n" + bytes(44), b"other", *counts]


# -- keys ---------------------------------------------------------------------------------------


def key_file(data: bytes) -> None:
    """A file of a keyring, whatever is before the sum: a header, and keys sealed or not."""
    body = arguments(data)
    if body is None:
        return
    for file in (data, _summed(body)):
        for form in ("dinemic/keyring", "dinemic/key"):
            with suppress(StoreError):
                private_files.decode_untrusted(PATH, file, form, 1)
        for seal in (None, _SEAL):
            with suppress(StoreError):
                keys = decode_keys_untrusted(PATH, file, OWNER.subject, seal)
                if seal is None:
                    assert encode_keys(OWNER.subject, keys, None) == file
        passphrase = PASSPHRASE if len(body) > 2 and _is_cheap(body[2]) else None
        with suppress(StoreError, UsageError):
            _unlock_untrusted(PATH, file, passphrase)


def _summed(body: list[Value]) -> bytes:
    return canonical.encode([*body, private_files._sum(body)])


def _is_cheap(value: Value) -> bool:
    try:
        name, _, a, b, c = passphrases.read_untrusted(value)
    except ValueError:
        return True
    return a * c <= CHEAP if name == "argon2id" else 128 * a * b * c <= CHEAP << 10


def _owned() -> ObjectKeys:
    return ObjectKeys(OWNER.key, OWNER.sealing)


def _without_sum(file: bytes) -> bytes:
    body = arguments(file)
    assert body is not None
    return canonical.encode(body[:-1])


def _key_files() -> list[bytes]:
    derivation: list[Value] = ["argon2id", b"s" * 16, 1, 1, 8]
    other: list[Value] = ["scrypt", b"s" * 16, 16, 1, 1]
    headers: list[list[Value]] = [[None, None], [derivation, b"v" * 32], [other, b"v" * 32]]
    files = [private_files.encode("dinemic/keyring", 1, *header) for header in headers]
    files += [encode_keys(OWNER.subject, _owned(), seal) for seal in (None, _SEAL)]
    return [_without_sum(file) for file in files]


def key_export_file(data: bytes) -> None:
    """The objects in a file of exported keys: an array for each, in it a key file's body.

    Everything around them is as it must be, so that they are reached.
    """
    objects = arguments(data)
    if objects is None:
        return
    content: list[Value] = []
    for item in objects:
        match item:
            case [object_id, list(body), genesis]:
                content.append([object_id, _summed(body), genesis])
            case _:
                content.append(item)
    head, derived = _head()
    try:
        opened = canonical.encode(content)
    except InvalidEvent:  # nested too deep by now
        return
    bound = canonical.encode(["dinemic/key-export", 1, *head])
    cipher = ChaCha20Poly1305(passphrases.expand(derived, "dinemic/key-export/1/seal"))
    sealed = cipher.encrypt(_NONCE, opened, bound)
    path = _directory() / "some.keys"
    path.write_bytes(private_files.encode("dinemic/key-export", 1, *head, _NONCE, sealed))
    path.chmod(0o600)
    try:
        found = key_export.read_untrusted(path, PASSPHRASE)
    except StoreError:
        return
    assert len(found) == len(objects)


@functools.cache
def _head() -> tuple[list[Value], bytes]:
    """Derivation and verifier, and what is derived from the passphrase."""
    derivation = ("argon2id", b"s" * 16, 1, 1, 8)
    derived = passphrases.derive(derivation, PASSPHRASE)
    verifier = passphrases.expand(derived, "dinemic/key-export/1/verifier")
    return [list(derivation), verifier], derived


@functools.cache
def _keeper() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="dinemic-fuzz-")


def _directory() -> Path:
    return Path(_keeper().name)


def _exports() -> list[bytes]:
    first = LOG[0]
    file = encode_keys(first.object, _owned(), None)
    other = ObjectKeys(SigningKey(b"1" * 32), SealingKey(b"2" * 32))
    wrong = encode_keys(first.object, other, None)
    bodies = [arguments(_without_sum(each)) for each in (file, wrong)]
    stranger = graphs.genesis(by=graphs.STRANGER)
    seeds: list[Value] = [
        [[first.object, bodies[0], first.raw]],
        [[first.object, bodies[1], first.raw]],
        [[first.object, bodies[0], stranger.raw], [first.object, file, first.raw]],
        [[first.object, file, b"no event"], 5],
        [],
    ]
    return [canonical.encode(seed) for seed in seeds]


# -- options ------------------------------------------------------------------------------------


def options(data: bytes) -> None:
    """`dinemic.toml` and the environment: options in force, or `UsageError`."""
    match arguments(data):
        case [bytes(file), Mapping() as environ] if all(
            isinstance(e, str) for e in environ.values()
        ):
            pass
        case _:
            return
    (_directory() / "dinemic.toml").write_bytes(file)
    environ = {f"DINEMIC_{name}": str(value) for name, value in environ.items() if name != "HOME"}
    with suppress(UsageError):
        assert Config.load({"home": _directory()}, environ).home == _directory()


def _options() -> list[bytes]:
    whole = (
        'listen = "127.0.0.1:0"\npeers = ["a.example:7000", "[::1]:7001"]\ndiscover = false\n'
        'cluster = "c"\nmodels = ["Person", "*"]\nstore = "memory"\ndurability = "group"\n'
        'loglevel = "info"\nrelay = true\nmetrics = "127.0.0.1:9"\n'
    )
    node = "a" * 52
    seeds: list[Value] = [
        [whole.encode(), {}],
        [f'allow = ["{node}"]\ndeny = []\ntransport = "iroh"\n'.encode(), {"PEERS": "a:1,b:2"}],
        [b"", {"DISCOVER": "no", "CLUSTER_KEY": "correct horse battery", "LISTEN": "[::]:7"}],
        [b"x = [[[[[[[[1]]]]]]]]", {"NOTHING": ""}],
        [b"x = " + b"[" * 3000, {}],
        [b"x = " + b"9" * 5000, {}],
        [b"cluster = 1979-05-27T07:32:00Z", {"ALLOW": node}],
        [b"\xff", {}],
        [b'home = "/"', {}],
        [b'passphrase = "x"', {}],
        [b'peers = ["a"]\n', {}],
        [b'peers = "a:1"\n', {}],
        [b"metrics = 'a:x'", {}],
        [b"metrics = 'a:65536'", {}],
        [b"metrics = 'a'", {}],
        [b"models = []", {}],
        [b"models = ['no name']", {}],
        [b"relay = 1\n", {}],
        [b"cluster = ''", {}],
        [b"store = 'paper'", {}],
        [b"iroh_relay = 'ftp://x'", {}],
        [b"allow = ['x']", {}],
        [b"", {"CLUSTER_KEY": " x"}],
        [b"", {"CLUSTER_KEY": "short"}],
        [b'cluster = "' + b"c" * 300 + b'"', {}],
    ]
    return [canonical.encode(seed) for seed in seeds]


TARGETS: Final = {
    "bundle": Target(a_bundle, _bundles),
    "key_file": Target(key_file, _key_files),
    "key_export": Target(key_export_file, _exports),
    "options": Target(options, _options, calls_per_byte=60),
}
