"""The options of a node, from wherever they were given, checked before anything is opened.

One option can be given in four places; the first that names it wins:

    argument  >  DINEMIC_<OPTION> in the environment  >  dinemic.toml in the home  >  default

All places are checked, also where another one wins: an unknown name or a wrong value is never
passed over. ``DINEMIC_TEST_*`` belongs to tests and ``DINEMIC_EXPORT_PASSPHRASE`` to the command
`dinemic keys`; they are no options and are ignored.

Three options are bound to certain places. ``home`` cannot be in the home's own file. ``passphrase``
cannot either: beside the keys it protects it would protect nothing. A file with a ``cluster_key``
must be closed to other users.
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Literal

import platformdirs

from dinemic.logs import LEVELS
from dinemic_engine import ids
from dinemic_engine.errors import UsageError

FILE_NAME: Final = "dinemic.toml"
ENVIRONMENT_PREFIX: Final = "DINEMIC_"
EXPORT_PASSPHRASE: Final = "DINEMIC_EXPORT_PASSPHRASE"
"""The passphrase of a file of exported keys, for `dinemic keys`."""
CLUSTER_KEY_LENGTH_MIN: Final = 16
"""Characters or bytes. Whoever meets a node can try keys offline: a short one is no key."""

_TEST_PREFIX: Final = "DINEMIC_TEST_"
_NAME_LENGTH_MAX: Final = 128
_HOST: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_.])?")


@dataclass(frozen=True, slots=True)
class Config:
    """The options of one node. Equal configs make equal nodes; secrets stay out of the repr."""

    home: Path
    """Absolute; it need not exist yet."""
    listen: str | None = None
    """``host:port``, port 0 = any free one; None: the transport decides."""
    peers: tuple[str, ...] = ()
    """``host:port``, ``node@host:port`` or, if the transport can find it, ``node`` each."""
    discover: bool = True
    cluster: str = "dinemic"
    cluster_key: bytes | None = field(default=None, repr=False)
    """At least 16 bytes; None: the node is open to its network."""
    allow: frozenset[bytes] | None = None
    """Node ids that may connect; None: no such list, empty: nobody."""
    deny: frozenset[bytes] = frozenset()
    """Node ids that may not, whether they are allowed or not."""
    transport: Literal["tcp", "iroh"] = "tcp"
    iroh_relay: str | None = None
    """``"n0"`` or a relay's URL; None: nodes reach each other directly or not at all."""
    models: tuple[str, ...] = ("*",)
    relay: bool = False
    """Keep and pass on what others make, and make nothing: no object's key is here."""
    store: Literal["rocksdb", "memory"] = "rocksdb"
    durability: Literal["group", "sync"] = "group"
    passphrase: str | None = field(default=None, repr=False)
    loglevel: str | None = None
    """A name of `logs.LEVELS`; None leaves logging alone."""
    metrics: str | None = None
    """``host:port`` where Prometheus finds the figures, port 0 = any free one; None: nowhere."""

    @classmethod
    def load(
        cls, overrides: Mapping[str, object], environ: Mapping[str, str] | None = None
    ) -> Config:
        """The options in force: `overrides` are the arguments, None among them = not given.

        `environ` is ``os.environ`` unless given. Reads ``dinemic.toml``, writes nothing.

        Raises:
            UsageError: unknown option or wrong value; names it and the place it came from.
        """
        arguments = _from_arguments(overrides)
        environment = _from_environment(os.environ if environ is None else environ)
        outside = environment | arguments
        home = outside.pop("home", None)
        if home is None:
            home = Path(platformdirs.user_data_dir("dinemic", appauthor=False)).absolute()
        return cls(home=home, **(_from_file(home / FILE_NAME) | outside))


# -- the three places ---------------------------------------------------------------------------


def _from_arguments(overrides: Mapping[str, object]) -> dict[str, Any]:
    return {
        name: _checked(name, value, f"argument {name}")
        for name, value in overrides.items()
        if _known(name, f"argument {name}") and value is not None
    }


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for variable in sorted(environ):
        if _is_option(variable):
            name = variable.removeprefix(ENVIRONMENT_PREFIX).lower()
            place = f"environment variable {variable}"
            # also refuses a second spelling in lower case, which would be one option twice
            _known(name if variable.isupper() else variable, place)
            text = environ[variable]
            found[name] = _checked(name, _FROM_TEXT.get(name, str)(text), place)
    return found


def _is_option(variable: str) -> bool:
    other = variable.startswith(_TEST_PREFIX) or variable == EXPORT_PASSPHRASE
    return variable.startswith(ENVIRONMENT_PREFIX) and not other


def _from_file(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            options = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8 text") from None  # the cause holds its bytes
    except ValueError as error:  # not only TOMLDecodeError: a number may have too many digits
        raise UsageError(f"{path} is not TOML: {error}") from None
    except RecursionError:
        raise UsageError(f"{path} is not TOML: it nests too deep") from None
    found: dict[str, Any] = {}
    for name, value in options.items():
        place = f"{name} in {path}"
        _known(name, place)
        if name == "home":
            raise UsageError(f"{place}: the home cannot be moved from inside; set DINEMIC_HOME")
        if name == "passphrase":
            raise UsageError(
                f"{place}: beside the keys it protects nothing; set DINEMIC_PASSPHRASE"
            )
        if name == "cluster_key" and mode & 0o077:
            raise UsageError(f"{place}: other users may read this file; chmod 600 it")
        found[name] = _checked(name, value, place)
    return found


def _known(name: str, place: str) -> bool:
    if name in _CHECKS:
        return True
    nearest = difflib.get_close_matches(name.lower(), _CHECKS, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else f"known are {', '.join(_CHECKS)}"
    raise UsageError(f"unknown option {name!r} ({place}): {hint}")


def _checked(name: str, value: object, place: str) -> Any:
    try:
        return _CHECKS[name](value)
    except ValueError as error:
        raise UsageError(f"{place}: {error}") from None  # the cause may hold a secret


# -- environment text to a value ----------------------------------------------------------------


def _list_from_text(text: str) -> list[str]:
    """The items between commas; empty text is the empty list."""
    return [item.strip() for item in text.split(",")] if text.strip() else []


def _bool_from_text(text: str) -> bool | str:
    words = {"1": True, "true": True, "yes": True, "on": True}
    words |= {"0": False, "false": False, "no": False, "off": False}
    return words.get(text.strip().lower(), text)  # anything else fails the check, with its text


_FROM_TEXT: Final[dict[str, Callable[[str], object]]] = {
    "peers": _list_from_text,
    "allow": _list_from_text,
    "deny": _list_from_text,
    "models": _list_from_text,
    "discover": _bool_from_text,
    "relay": _bool_from_text,
}


# -- checks: the value in its final form, or ValueError saying what is wrong --------------------


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be text, not {type(value).__name__}")
    if not value:
        raise ValueError("must not be empty")
    return value


def _texts(value: object) -> tuple[str, ...]:
    """A sequence of texts; a lone text is a slip, not a list of its letters."""
    if not isinstance(value, list | tuple | set | frozenset):
        raise ValueError(f"must be a list of texts, not {type(value).__name__}")
    return tuple(_text(item) for item in value)


def _home(value: object) -> Path:
    text = _text(os.fspath(value) if isinstance(value, os.PathLike) else value)
    if "\0" in text:
        raise ValueError(f"not a path: {text!r}")
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise ValueError(f"no home directory for {text!r}") from None


def _listen(value: object) -> str:
    return _address(_text(value), port_min=0)


def _peers(value: object) -> tuple[str, ...]:
    return tuple(_peer(item) for item in _texts(value))


def _peer(text: str) -> str:
    """A place, a node at a place, or a node wherever it is."""
    node, at, place = text.rpartition("@")
    if not at and ":" not in text:
        node, place = text, ""
    if node or at:
        try:
            ids.from_text_untrusted(node)
        except ValueError:
            form = "host:port, node@host:port or node"
            raise ValueError(f"not of the form {form}: {text[:300]!r}") from None
    if place or at:
        _address(place, port_min=1)
    return text


def _address(text: str, *, port_min: int) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or not _is_host(host):
        raise ValueError(f"not host:port (an IPv6 host in brackets): {text[:300]!r}")
    if not (port.isascii() and port.isdigit() and len(port) <= 5):
        raise ValueError(f"not a port number: {text[:300]!r}")
    if not port_min <= int(port) <= 65535:
        raise ValueError(f"port not in {port_min}..65535: {text[:300]!r}")
    return text


def _is_host(host: str) -> bool:
    if host.startswith("[") and host.endswith("]"):
        try:
            ipaddress.IPv6Address(host[1:-1])
        except ValueError:
            return False
        return True
    return _HOST.fullmatch(host) is not None


def _bool(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {value!r:.80}")
    return value


def _cluster(value: object) -> str:
    name = _text(value)
    if len(name) > _NAME_LENGTH_MAX or not name.isprintable():
        raise ValueError(f"must be at most {_NAME_LENGTH_MAX} printable characters")
    return name


def _cluster_key(value: object) -> bytes:
    """The key's bytes. Text stands for its UTF-8 bytes: guessing hex would give one key two."""
    if not isinstance(value, bytes):
        text = _text(value)
        if text != text.strip():
            raise ValueError("begins or ends with white space (a newline read from a file?)")
        try:
            value = text.encode()
        except UnicodeEncodeError:
            raise ValueError("is not text") from None
        length, unit = len(text), "characters"
    else:
        length, unit = len(value), "bytes"
    if length < CLUSTER_KEY_LENGTH_MIN:
        raise ValueError(
            f"has {length} {unit}, at least {CLUSTER_KEY_LENGTH_MIN} are needed: a short key can"
            ' be found by trying (python -c "import secrets; print(secrets.token_urlsafe(32))")'
        )
    return value


def _node_ids(value: object) -> frozenset[bytes]:
    return frozenset(ids.from_text_untrusted(item) for item in _texts(value))


def _iroh_relay(value: object) -> str:
    text = _text(value)
    if text != "n0" and not re.fullmatch(r"https?://[!-~]+", text):
        raise ValueError(f"must be 'n0' or the URL of a relay, not {text[:300]!r}")
    return text


def _models(value: object) -> tuple[str, ...]:
    names = _texts(value)
    if not names:
        raise ValueError("names no model; '*' stands for all")
    for name in names:
        if name != "*" and not ids.is_model_name(name):
            raise ValueError(f"not a model name nor '*': {name[:120]!r}")
    return ("*",) if "*" in names else tuple(sorted(set(names)))


def _one_of(*choices: str) -> Callable[[object], str]:
    def check(value: object) -> str:
        if value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}, not {value!r:.80}")
        return str(value)

    return check


_CHECKS: Final[dict[str, Callable[[object], object]]] = {
    "home": _home,
    "listen": _listen,
    "peers": _peers,
    "discover": _bool,
    "cluster": _cluster,
    "cluster_key": _cluster_key,
    "allow": _node_ids,
    "deny": _node_ids,
    "transport": _one_of("tcp", "iroh"),
    "iroh_relay": _iroh_relay,
    "models": _models,
    "relay": _bool,
    "store": _one_of("rocksdb", "memory"),
    "durability": _one_of("group", "sync"),
    "passphrase": _text,
    "loglevel": _one_of(*LEVELS),
    "metrics": _listen,
}
assert set(_CHECKS) == {option.name for option in fields(Config)}
