"""What a running node tells other processes of its user: a socket in the home that only talks.

``live.sock`` (0600) is there while a launched node runs. Whoever connects is sent one JSON
document, `document`, and the connection is closed; nothing is read, so nothing can be asked for.
A socket that a crash left refuses connections and is replaced by the next node: the lock on the
store sees to it that there is one. Where the system has no such sockets there is none, and the node
runs all the same.

A socket's address has room for about a hundred bytes. For a home with a longer path it goes through
the directory's file descriptor, which Linux gives a short name.
"""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import math
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dinemic._version import __version__
from dinemic.outlet import ANSWER_SECONDS_MAX, CONNECTIONS_MAX, Window
from dinemic_engine.errors import TransportError

if TYPE_CHECKING:
    from dinemic.net import NetworkStatus
    from dinemic.node import Status

NAME: Final = "live.sock"
MODELS_TOLD_MAX: Final = 256
"""Models told of each peer, those that are not equal first: a peer may name thousands."""

DOCUMENT_BYTES_MAX: Final = 64 << 20
"""Read of a document: twice what a thousand peers with so many models make."""

_PATH_BYTES_MAX: Final = 100
"""Linux takes 107, others 103."""

_log = logging.getLogger(__name__)


# -- the node's side ----------------------------------------------------------------------------


def open_window(home: Path, look: Callable[[], Status]) -> Window | None:
    """The socket in `home`; None, and a line in the log, where there can be none."""
    since = time.monotonic()
    try:
        listener, inode = _listen(home)
    except OSError as error:
        _log.info("other processes cannot ask this node what it does: %s", error)
        return None

    def answer(_: bytes) -> bytes:
        return json.dumps(document(look(), time.monotonic() - since)).encode("ascii")

    def closed() -> None:
        path = home / NAME
        with contextlib.suppress(OSError):  # somebody has tidied up
            if path.lstat().st_ino == inode:
                path.unlink()

    return Window(listener, answer, closed)


def _listen(home: Path) -> tuple[socket.socket, int]:
    """The socket, and its inode."""
    if not hasattr(socket, "AF_UNIX"):
        raise OSError("this system has no local sockets")
    path = home / NAME
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(path.lstat().st_mode):
                raise OSError(f"{path} is there and no socket")
            path.unlink()
        with _short(home) as name:
            listener.bind(name)
        path.chmod(0o600)  # before anybody can connect
        listener.listen(CONNECTIONS_MAX)
        return listener, path.lstat().st_ino
    except BaseException:
        listener.close()
        raise


def document(status: Status, seconds: float) -> dict[str, Any]:
    """What is told of a node that runs for so many `seconds`, as JSON can hold it."""
    if status.network is not None:
        status = replace(status, network=_bounded(status.network))
    head: dict[str, Any] = {
        "running": True,
        "version": __version__,
        "pid": os.getpid(),
        "seconds": seconds,
    }
    head.update(plain(status))
    return head


def _bounded(network: NetworkStatus) -> NetworkStatus:
    peers = []
    for peer in network.peers:
        models = sorted(peer.models, key=lambda model: model.equal is True)
        peers.append(replace(peer, models=tuple(models[:MODELS_TOLD_MAX])))
    return replace(network, peers=tuple(peers))


def plain(value: object) -> Any:
    """`value` as JSON can hold it: named fields become keys, bytes base32, sets sorted arrays.

    Raises:
        TypeError: there is no such form.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else None
        case bytes():
            return base64.b32encode(value).decode("ascii").rstrip("=").lower()
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case set() | frozenset():
            return sorted(map(plain, value))
    if is_dataclass(value):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {name: plain(item) for name, item in zip(value._fields, value, strict=True)}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    raise TypeError(f"{type(value).__name__} has no form in JSON")


# -- who asks -----------------------------------------------------------------------------------


def ask(home: Path) -> dict[str, Any] | None:
    """What the node that runs with `home` tells of itself; None if none was launched with it.

    Raises:
        TransportError: it does not answer, or the socket is another user's.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise TransportError("this system has no local sockets: a node cannot be asked")
    until = time.monotonic() + 2 * ANSWER_SECONDS_MAX
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        try:
            asking.settimeout(ANSWER_SECONDS_MAX)
            with _short(home) as name:
                asking.connect(name)
            return _read_untrusted(asking, until)
        except (FileNotFoundError, NotADirectoryError, ConnectionError):
            return None
        except TimeoutError:
            why = "it does not answer"
        except OSError as error:
            why = str(error.strerror)
        except ValueError as error:
            why = f"what it says is not understood: {error}"
    raise TransportError(f"the node in {home} cannot be asked: {why}")


def _read_untrusted(asked: socket.socket, until: float) -> dict[str, Any]:
    """The document, read to its end.

    Raises:
        ValueError: it is none.
        ConnectionError: the node ended.
        TimeoutError: it does not come in time.
    """
    said = bytearray()
    while piece := asked.recv(1 << 16):
        said += piece
        if len(said) > DOCUMENT_BYTES_MAX:
            raise ValueError(f"more than {DOCUMENT_BYTES_MAX} bytes")
        if time.monotonic() > until:
            raise TimeoutError
    if not said:
        raise ConnectionResetError
    try:
        found = json.loads(said)
    except RecursionError:
        raise ValueError("it nests too deep") from None
    if not isinstance(found, dict) or found.get("running") is not True:
        raise ValueError("no status")
    return found


@contextlib.contextmanager
def _short(home: Path) -> Iterator[str]:
    """The socket's path, in as many bytes as an address takes."""
    path = os.fspath(home / NAME)
    if len(os.fsencode(path)) <= _PATH_BYTES_MAX:
        yield path
        return
    directory = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{NAME}"
    finally:
        os.close(directory)
