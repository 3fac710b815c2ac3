"""TLS contexts of one node: its certificate, and whose certificates it believes.

Nobody issues certificates here. Each node mints its own leaf for its Ed25519 node key and signs it
with the cluster's CA key, which every holder of the cluster key can compute::

    cluster key --scrypt(salt = name)--> CA key --signs--> leaf of node A (A's public key)
                                                --signs--> leaf of node B (B's public key)

So a chain that verifies proves two things: the peer holds the private node key (TLS checks that)
and the peer holds the cluster key. scrypt and not a plain hash, because a server shows its leaf to
whoever connects, before that one has shown anything: from a leaf, guesses of a typed cluster key
can be tried offline, and each try should cost something.

An open cluster has no cluster key; its CA key is the hash of a published constant and the name.
That gates nothing and is not meant to: it gives both sides the certificates in which TLS carries
their node keys, and keeps apart clusters of different names, against accidents only.

Validity is 1970 to 9999, whatever anybody's clock says: membership ends by changing the cluster
key. The checks that CHAN-2 asks for after the handshake are in channel.py.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import secrets
import ssl
import tempfile
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from dinemic_engine import keys
from dinemic_engine.errors import BadSignature, TransportError, UsageError

ALPN: Final = "dinemic/1"

_NOT_BEFORE: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_NOT_AFTER: Final = datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC)
"""RFC 5280 4.1.2.5: the date that says there is no expiry."""

_SCRYPT_N: Final = 1 << 14
_SCRYPT_R: Final = 8
"""16 MiB and about 40 ms, once a start: RFC 7914's figures for interactive use."""


@dataclass(frozen=True, slots=True)
class TlsContexts:
    """What one node dials with and answers with. Both demand a certificate of the peer."""

    client: ssl.SSLContext
    server: ssl.SSLContext


def mint_contexts(
    node_key: Ed25519PrivateKey, cluster: str, cluster_key: bytes | None
) -> TlsContexts:
    """TLS 1.3 contexts in which `node_key` is this node and only this cluster is believed.

    Raises:
        UsageError: the cluster key is empty (None makes an open cluster).
        TransportError: no temporary file could be made.
    """
    ca_key = _cluster_ca_key(cluster, cluster_key)
    ca = _mint_ca(ca_key)
    leaf = _mint_leaf(node_key.public_key(), ca_key)
    contexts = TlsContexts(
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    )
    for context in (contexts.client, contexts.server):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname = False  # a node is its key, not its address
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        context.load_verify_locations(cadata=ca.public_bytes(serialization.Encoding.DER))
        context.set_alpn_protocols([ALPN])
        _load_cert_chain(context, node_key, leaf)
    contexts.server.num_tickets = 0  # every link proves itself anew
    return contexts


def node_id_untrusted(certificate: bytes) -> bytes:
    """The raw Ed25519 public key of a DER certificate: its holder's node id.

    Raises:
        TransportError: it cannot be read, or its key is of another kind, or one that nobody in
            particular holds (EV-9).
    """
    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
    except (ValueError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
        raise TransportError("the peer's certificate cannot be read") from error
    if not isinstance(key, Ed25519PublicKey):
        raise TransportError("the peer's certificate is not for an Ed25519 key")
    node_id = key.public_bytes_raw()
    try:
        keys.check_signing_public_untrusted(node_id)
    except BadSignature as error:
        raise TransportError(f"the peer's node key is unusable: {error}") from error
    return node_id


def cluster_secret(cluster: str, cluster_key: bytes | None) -> bytes:
    """32 bytes that every holder of the cluster key has; those of an open cluster everybody has.

    With a cluster key this takes some 40 ms.

    Raises:
        UsageError: the cluster key is empty (None makes an open cluster).
    """
    if cluster_key is None:
        return hashlib.sha256(b"dinemic/open-cluster/1|" + cluster.encode()).digest()
    if not cluster_key:
        raise UsageError("the cluster key is empty; give none at all for an open cluster")
    salt = b"dinemic/cluster/1|" + cluster.encode()
    return hashlib.scrypt(cluster_key, salt=salt, n=_SCRYPT_N, r=_SCRYPT_R, p=1, dklen=32)


def _cluster_ca_key(cluster: str, cluster_key: bytes | None) -> Ed25519PrivateKey:
    """The CA's signing key. No cluster key gives the one of an open cluster."""
    return Ed25519PrivateKey.from_private_bytes(cluster_secret(cluster, cluster_key))


def _mint_ca(ca_key: Ed25519PrivateKey) -> x509.Certificate:
    """The CA's own certificate: the same bytes on every node, so it need not travel."""
    public = ca_key.public_key()
    builder = _builder(public, subject="dinemic cluster", issuer="dinemic cluster")
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False
    )
    return builder.sign(ca_key, algorithm=None)


def _mint_leaf(public: Ed25519PublicKey, ca_key: Ed25519PrivateKey) -> x509.Certificate:
    builder = _builder(public, subject="dinemic node", issuer="dinemic cluster")
    builder = builder.add_extension(
        x509.BasicConstraints(ca=False, path_length=None), critical=True
    )
    builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
        critical=False,
    )
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
    )
    return builder.sign(ca_key, algorithm=None)


def _builder(public: Ed25519PublicKey, *, subject: str, issuer: str) -> x509.CertificateBuilder:
    """What CA and leaf have in common. The serial number follows from the key, too."""
    key_identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(public)
        .serial_number(1 + int.from_bytes(key_identifier.digest[:16], "big"))
        .not_valid_before(_NOT_BEFORE)
        .not_valid_after(_NOT_AFTER)
        .add_extension(key_identifier, critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _load_cert_chain(
    context: ssl.SSLContext, node_key: Ed25519PrivateKey, leaf: x509.Certificate
) -> None:
    """Hand key and leaf to OpenSSL, which takes them from a file only.

    The file is private, lives for this call, and holds the key encrypted under a password that
    only this call knows: whatever is left of it on some disk opens nothing.
    """
    password = secrets.token_bytes(32).hex().encode()
    pem = node_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password),
    ) + leaf.public_bytes(serialization.Encoding.PEM)
    try:
        descriptor, path = tempfile.mkstemp(prefix="dinemic-", suffix=".pem")  # mode 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(pem)
            context.load_cert_chain(path, password=password)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
    except OSError as error:
        raise TransportError(f"no temporary file for the node's certificate: {error}") from error
