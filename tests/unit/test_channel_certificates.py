"""What a node shows in TLS, and where its key goes on the way there (CHAN-1)."""

from __future__ import annotations

import os
import ssl
import stat
import tempfile
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from dinemic_engine.errors import TransportError
from dinemic_transport import certificates
from dinemic_transport.channel import TcpTransport

KEY = b"a cluster key"


def test_the_node_key_touches_the_disk_only_encrypted_private_and_for_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, bytes]] = []
    load = ssl.SSLContext.load_cert_chain

    def spy(context: ssl.SSLContext, path: str, *, password: bytes) -> None:
        seen.append((stat.S_IMODE(os.stat(path).st_mode), Path(path).read_bytes()))
        load(context, path, password=password)

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", spy)
    seed = bytes(range(32))
    TcpTransport(seed)
    assert [mode for mode, _ in seen] == [0o600, 0o600]
    assert all(b"BEGIN ENCRYPTED PRIVATE KEY" in pem and seed not in pem for _, pem in seen)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_temporary_directory_is_a_transport_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(TransportError, match="gone"):
        TcpTransport(bytes(32))


def test_every_holder_of_a_cluster_key_computes_the_same_ca_and_no_clock_matters() -> None:
    first, second = (certificates._cluster_ca_key("c", KEY) for _ in range(2))
    ca = certificates._mint_ca(first)
    assert ca.public_bytes(serialization.Encoding.DER) == certificates._mint_ca(
        second
    ).public_bytes(serialization.Encoding.DER)
    leaf = certificates._mint_leaf(Ed25519PrivateKey.generate().public_key(), first)
    for certificate in (ca, leaf):
        assert certificate.not_valid_before_utc.year == 1970
        assert certificate.not_valid_after_utc.year == 9999
    leaf.verify_directly_issued_by(ca)
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False


def test_the_ca_key_of_a_cluster_is_what_it_always_was() -> None:
    def public(cluster: str, key: bytes | None) -> str:
        return certificates._cluster_ca_key(cluster, key).public_key().public_bytes_raw().hex()

    assert public("dinemic", None) == (
        "027bf45b9d62d822ffbc4c7af30735d30b117f80cc3df11c3f5e0e55d3832cf5"
    )
    assert public("dinemic", b"secret") == (
        "491c09fdbeae487bd21c4d1c67a2d38a246418cc73b700266d43fe46ad570d99"
    )


@pytest.mark.parametrize("data", [b"", b"\x30\x82", b"\0" * 1000])
def test_an_unreadable_certificate_is_a_transport_error(data: bytes) -> None:
    with pytest.raises(TransportError):
        certificates.node_id_untrusted(data)


def test_a_node_key_that_anybody_could_claim_is_refused() -> None:
    ca_key = certificates._cluster_ca_key("dinemic", None)
    leaf = certificates._mint_leaf(Ed25519PrivateKey.generate().public_key(), ca_key)
    der = leaf.public_bytes(serialization.Encoding.DER)
    raw = certificates.node_id_untrusted(der)
    small_order = (1).to_bytes(32, "little")
    with pytest.raises(TransportError, match="unusable"):
        certificates.node_id_untrusted(der.replace(raw, small_order))
