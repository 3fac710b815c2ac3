"""Where options come from, which place wins, and what is refused with which words."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import FrozenInstanceError
from pathlib import Path

import platformdirs
import pytest

from dinemic.config import Config
from dinemic_engine import ids
from dinemic_engine.errors import UsageError

KEY = "correct horse battery"
NODE = ids.to_text(bytes(range(32)))
OTHER = ids.to_text(bytes(32))


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def write(home: Path, text: str, mode: int = 0o600) -> None:
    path = home / "dinemic.toml"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def load(home: Path, environ: dict[str, str] | None = None, **overrides: object) -> Config:
    return Config.load({"home": home, **overrides}, environ or {})


def test_nothing_given_gives_the_defaults_in_the_platform_directory() -> None:
    config = Config.load({}, {})
    assert config == Config(home=Path(platformdirs.user_data_dir("dinemic")))
    assert config.home.is_absolute()
    assert (config.listen, config.peers, config.discover) == (None, (), True)
    assert (config.cluster, config.cluster_key, config.allow) == ("dinemic", None, None)
    assert (config.models, config.store, config.durability) == (("*",), "rocksdb", "group")
    assert (config.passphrase, config.loglevel) == (None, None)
    assert (config.deny, config.relay, config.metrics) == (frozenset(), False, None)
    assert (config.transport, config.iroh_relay) == ("tcp", None)


def test_the_process_environment_is_the_one_used_unless_given(
    monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    monkeypatch.setenv("DINEMIC_HOME", str(home))
    assert Config.load({}).home == home


def test_argument_beats_environment_beats_file_beats_default(home: Path) -> None:
    assert load(home).cluster == "dinemic"
    write(home, 'cluster = "file"\nstore = "memory"\n')
    assert load(home).cluster == "file"
    environ = {"DINEMIC_CLUSTER": "environment"}
    assert load(home, environ).cluster == "environment"
    assert load(home, environ, cluster="argument").cluster == "argument"
    assert load(home, environ, cluster=None).cluster == "environment"
    assert load(home, environ).store == "memory"


def test_the_file_is_the_one_of_the_home_that_won(home: Path) -> None:
    other = home / "other"
    other.mkdir()
    write(home, 'cluster = "here"\n')
    write(other, 'cluster = "there"\n')
    assert load(home, {"DINEMIC_HOME": str(other)}).cluster == "here"
    assert Config.load({}, {"DINEMIC_HOME": str(other)}).cluster == "there"


def test_home_is_made_absolute_and_the_tilde_is_the_user(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    assert load(Path("db")).home == home / "db"
    monkeypatch.setenv("HOME", str(home))
    assert Config.load({"home": "~/db"}, {}).home == home / "db"


def test_every_option_can_come_from_the_environment(home: Path) -> None:
    config = Config.load(
        {},
        {
            "DINEMIC_HOME": str(home),
            "DINEMIC_LISTEN": "127.0.0.1:0",
            "DINEMIC_PEERS": "a.example:1, [::1]:65535",
            "DINEMIC_DISCOVER": "no",
            "DINEMIC_CLUSTER": "lab",
            "DINEMIC_CLUSTER_KEY": KEY,
            "DINEMIC_ALLOW": NODE,
            "DINEMIC_MODELS": "Person,Album",
            "DINEMIC_STORE": "memory",
            "DINEMIC_DURABILITY": "sync",
            "DINEMIC_PASSPHRASE": "pässword",
            "DINEMIC_LOGLEVEL": "debug",
            "DINEMIC_DENY": f"{NODE}, {OTHER}",
            "DINEMIC_RELAY": "yes",
            "DINEMIC_TRANSPORT": "iroh",
            "DINEMIC_IROH_RELAY": "n0",
            "DINEMIC_METRICS": "[::1]:9464",
            "PATH": "/bin",
        },
    )
    assert config == Config(
        home=home,
        listen="127.0.0.1:0",
        peers=("a.example:1", "[::1]:65535"),
        discover=False,
        cluster="lab",
        cluster_key=KEY.encode(),
        allow=frozenset({bytes(range(32))}),
        models=("Album", "Person"),
        store="memory",
        durability="sync",
        passphrase="pässword",
        loglevel="debug",
        deny=frozenset({bytes(range(32)), bytes(32)}),
        relay=True,
        transport="iroh",
        iroh_relay="n0",
        metrics="[::1]:9464",
    )


def test_file_and_arguments_give_the_same_config_as_the_environment(home: Path) -> None:
    write(
        home,
        f'listen = "[::]:4000"\npeers = ["a:1", "b:2"]\ndiscover = false\ncluster_key = "{KEY}"\n'
        f'allow = ["{NODE}"]\ndeny = ["{OTHER}"]\nmodels = ["Person"]\n'
        'relay = true\nmetrics = "127.0.0.1:0"\n',
    )
    arguments = load(
        home / "elsewhere",
        listen="[::]:4000",
        peers=["a:1", "b:2"],
        discover=False,
        cluster_key=KEY.encode(),
        allow=(NODE,),
        deny={OTHER},
        models=("Person", "Person"),
        relay=True,
        metrics="127.0.0.1:0",
    )
    environment = load(
        home / "elsewhere",
        {
            "DINEMIC_LISTEN": "[::]:4000",
            "DINEMIC_PEERS": "a:1,b:2",
            "DINEMIC_DISCOVER": "0",
            "DINEMIC_CLUSTER_KEY": KEY,
            "DINEMIC_ALLOW": NODE,
            "DINEMIC_DENY": OTHER,
            "DINEMIC_MODELS": "Person",
            "DINEMIC_RELAY": "on",
            "DINEMIC_METRICS": "127.0.0.1:0",
        },
    )
    assert arguments == environment
    from_file = load(home)
    names = "listen peers discover cluster_key allow deny models relay metrics"
    for name in names.split():
        assert getattr(from_file, name) == getattr(arguments, name)


def test_an_unknown_argument_is_named_with_the_nearest_known_one(home: Path) -> None:
    with pytest.raises(UsageError, match=r"'cluster_kye' \(argument.*did you mean cluster_key\?"):
        load(home, cluster_kye=KEY)
    with pytest.raises(UsageError, match=r"'xyzzy'.*known are home, listen, peers"):
        load(home, xyzzy=None)


def test_an_unknown_variable_is_named_with_the_nearest_known_one(home: Path) -> None:
    with pytest.raises(UsageError, match=r"variable DINEMIC_PEER\).*did you mean peers\?"):
        load(home, {"DINEMIC_PEER": "a:1"})
    with pytest.raises(UsageError, match=r"variable DINEMIC_peers\)"):
        load(home, {"DINEMIC_peers": "a:1"})


def test_an_unknown_key_of_the_file_is_named_with_its_file(home: Path) -> None:
    write(home, "discovery = true\n")
    with pytest.raises(UsageError, match=r"discovery in .*dinemic\.toml\): did you mean discover"):
        load(home)
    write(home, '[network]\nlisten = "a:1"\n')
    with pytest.raises(UsageError, match="unknown option 'network'"):
        load(home)


def test_a_wrong_value_is_refused_also_where_another_place_wins(home: Path) -> None:
    write(home, 'store = "sqlite"\n')
    with pytest.raises(UsageError, match=r"store in .*dinemic\.toml: must be one of rocksdb"):
        load(home, store="memory")
    (home / "dinemic.toml").unlink()
    with pytest.raises(UsageError, match="DINEMIC_STORE: must be one of rocksdb, memory"):
        load(home, {"DINEMIC_STORE": ""}, store="memory")


def test_variables_of_tests_are_ignored(home: Path) -> None:
    assert load(home, {"DINEMIC_TEST_SEED": "1", "dinemic_home": "x"}) == load(home)


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("home", "", "empty"),
        ("home", 7, "text, not int"),
        ("home", "a\0b", "not a path"),
        ("home", "~no-such-user-here/x", "no home directory"),
        ("listen", "4000", "host:port"),
        ("listen", ":4000", "host:port"),
        ("listen", "h:65536", "65535"),
        ("listen", "h:-1", "port number"),
        ("listen", "h:²", "port number"),
        ("listen", "::1:4000", "brackets"),
        ("listen", "[::g]:4000", "host:port"),
        ("listen", "a b:1", "host:port"),
        ("listen", "h\n:1", "host:port"),
        ("listen", "-h:1", "host:port"),
        ("listen", 4000, "text, not int"),
        ("peers", "a:1", "list of texts, not str"),
        ("peers", ["a"], "host:port"),
        ("peers", ["a:0"], r"1\.\.65535"),
        ("peers", [""], "empty"),
        ("peers", [f"{NODE}@"], "host:port"),
        ("peers", [f"{NODE}@a:0"], r"1\.\.65535"),
        ("peers", ["@a:1"], "node@host:port"),
        ("peers", [f"{NODE.upper()}@a:1"], "node@host:port"),
        ("peers", [NODE[1:]], "node@host:port"),
        ("transport", "udp", "tcp, iroh"),
        ("iroh_relay", "", "empty"),
        ("iroh_relay", "relay.example", "URL"),
        ("iroh_relay", "https://relay.example/ x", "URL"),
        ("peers", [1], "text, not int"),
        ("discover", 1, "true or false"),
        ("discover", "yes", "true or false"),
        ("cluster", "", "empty"),
        ("cluster", "a\nb", "printable"),
        ("cluster", "x" * 129, "128"),
        ("allow", NODE, "list of texts"),
        ("allow", [NODE.upper()], "canonical"),
        ("allow", ["abc"], "52"),
        ("deny", NODE, "list of texts"),
        ("deny", ["abc"], "52"),
        ("relay", "true", "true or false"),
        ("relay", 1, "true or false"),
        ("metrics", "9464", "host:port"),
        ("metrics", ":9464", "host:port"),
        ("metrics", 9464, "text, not int"),
        ("models", [], "names no model"),
        ("models", ["Per son"], "model name"),
        ("store", "RocksDB", "must be one of"),
        ("store", ["memory"], "must be one of"),
        ("durability", "none", "must be one of group, sync"),
        ("passphrase", "", "empty"),
        ("passphrase", b"bytes", "text, not bytes"),
        ("loglevel", "WARNING", "verbose, debug"),
    ],
)
def test_a_wrong_argument_is_refused_naming_it(
    home: Path, option: str, value: object, says: str
) -> None:
    with pytest.raises(UsageError, match=f"^argument {option}: .*{says}"):
        Config.load({"home": home, option: value}, {})


def test_a_peer_is_a_place_a_node_at_a_place_or_a_node(home: Path) -> None:
    peers = ("h:1", f"{NODE}@[::1]:1", f"{NODE}@h:1", NODE)
    assert load(home, peers=peers).peers == peers


def test_an_empty_list_in_the_environment_is_empty_and_never_unset(home: Path) -> None:
    config = load(home, {"DINEMIC_PEERS": "", "DINEMIC_ALLOW": " "})
    assert config.peers == ()
    assert config.allow == frozenset()


@pytest.mark.parametrize("word", ["", "maybe", "2"])
def test_a_variable_that_is_neither_yes_nor_no_is_refused(home: Path, word: str) -> None:
    with pytest.raises(UsageError, match="DINEMIC_DISCOVER: must be true or false"):
        load(home, {"DINEMIC_DISCOVER": word})


def test_the_star_swallows_the_other_models(home: Path) -> None:
    assert load(home, models=["Person", "*"]) == load(home)


@pytest.mark.parametrize("key", ["", "kurz", b"", b"x" * 15, " " * 20, KEY + "\n", 5])
def test_a_cluster_key_that_is_none_is_refused_and_not_shown(home: Path, key: object) -> None:
    with pytest.raises(UsageError, match="argument cluster_key") as caught:
        load(home, cluster_key=key)
    assert "kurz" not in str(caught.value)
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None


def test_an_empty_cluster_key_variable_never_means_an_open_cluster(home: Path) -> None:
    with pytest.raises(UsageError, match="DINEMIC_CLUSTER_KEY: must not be empty"):
        load(home, {"DINEMIC_CLUSTER_KEY": ""})


def test_a_cluster_key_of_broken_text_is_refused_without_showing_it(home: Path) -> None:
    with pytest.raises(UsageError, match="is not text") as caught:
        load(home, {"DINEMIC_CLUSTER_KEY": "secretsecretsecret\udcff"})
    assert "secretsecret" not in str(caught.value)


def test_text_that_looks_like_hex_is_text(home: Path) -> None:
    assert load(home, cluster_key="ab" * 16).cluster_key == b"ab" * 16


def test_a_cluster_key_in_a_file_for_everyone_is_refused(home: Path) -> None:
    write(home, f'cluster_key = "{KEY}"\n', mode=0o640)
    with pytest.raises(UsageError, match=r"cluster_key in .*chmod 600"):
        load(home)
    write(home, f'cluster_key = "{KEY}"\n')
    assert load(home).cluster_key == KEY.encode()
    write(home, 'cluster = "public"\n', mode=0o644)
    assert load(home).cluster == "public"


def test_the_file_can_hold_neither_home_nor_passphrase(home: Path) -> None:
    write(home, 'home = "/elsewhere"\n')
    with pytest.raises(UsageError, match=r"home in .*DINEMIC_HOME"):
        load(home)
    write(home, 'passphrase = "hunter2hunter2"\n')
    with pytest.raises(UsageError, match=r"passphrase in .*DINEMIC_PASSPHRASE") as caught:
        load(home)
    assert "hunter2" not in str(caught.value)


def _broken_toml(path: Path) -> None:
    path.write_text("cluster = \n")


def _not_utf8(path: Path) -> None:
    path.write_bytes(b'cluster = "\xff"\n')


def _directory(path: Path) -> None:
    path.mkdir()


@pytest.mark.parametrize("damage", [_broken_toml, _not_utf8, _directory])
def test_a_file_that_cannot_be_read_is_named(home: Path, damage: Callable[[Path], None]) -> None:
    damage(home / "dinemic.toml")
    with pytest.raises(UsageError, match=r"dinemic\.toml"):
        load(home)


def test_loading_writes_nothing(home: Path) -> None:
    load(home / "new")
    assert os.listdir(home) == []


def test_secrets_are_in_no_repr_and_the_config_cannot_change(home: Path) -> None:
    config = load(home, cluster_key=KEY, passphrase="open sesame")
    assert KEY not in repr(config)
    assert "sesame" not in repr(config)
    assert config != load(home, cluster_key=KEY + "!", passphrase="open sesame")
    with pytest.raises(FrozenInstanceError):
        config.store = "memory"  # type: ignore[misc]
