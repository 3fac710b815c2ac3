"""The node of a process: prepare, launch, shutdown, lists, forks, second processes."""

from __future__ import annotations

import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path
from textwrap import dedent

import pytest
import trio

import dinemic
import pydinemic
from dinemic_engine.errors import TransportError
from support.models import Person
from support.nodes import QUIET

pytestmark = pytest.mark.usefixtures("stopped")


class Person2(dinemic.DModel):
    pass


def run_script(code: str, *arguments: object, expect: int = 0) -> str:
    """What a Python process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == expect, done.stderr
    return done.stdout


# -- prepare and shutdown ------------------------------------------------------------------------


def test_prepare_opens_a_home_once(tmp_path: Path) -> None:
    node = dinemic.prepare(tmp_path)
    assert node.network is None
    assert dinemic.prepare(tmp_path) is node
    assert dinemic.prepare() is node
    assert pydinemic.prepare(str(tmp_path)) is node
    p = Person([])
    p.name.set("Bob")
    assert p.name.get() == "Bob"


def test_objects_can_be_made_and_read_without_a_network(tmp_path: Path) -> None:
    dinemic.prepare(tmp_path)
    Person([]).name.set("Bob")
    assert dinemic.status().network is None
    assert dinemic.wait_synced(timeout=0) is False


def test_the_same_options_spelt_otherwise_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    node = dinemic.prepare(tmp_path / "home", models=["B", "A"], peers=["h:1"], store="memory")
    assert dinemic.prepare("home", models=("A", "B"), store="memory", peers=("h:1",)) is node
    assert dinemic.prepare(None, durability="group", loglevel=None) is node


@pytest.mark.parametrize(
    "options",
    [
        {"models": ["Dog"]},
        {"store": "memory"},
        {"durability": "sync"},
        {"peers": ["h:1"]},
        {"cluster": "other"},
        {"home": "elsewhere"},
        {"cluster_key": "sixteen letters!"},
    ],
)
def test_other_options_are_an_error_that_names_them(
    tmp_path: Path, options: dict[str, object]
) -> None:
    node = dinemic.prepare(tmp_path)
    with pytest.raises(dinemic.UsageError, match=f"another {next(iter(options))}"):
        dinemic.prepare(**options)  # type: ignore[arg-type]
    assert dinemic.prepare() is node


@pytest.mark.parametrize("before", [False, True])
def test_an_unknown_option_is_named_also_when_a_node_is_open(tmp_path: Path, before: bool) -> None:
    if before:
        dinemic.prepare(tmp_path)
    for call in (dinemic.prepare, dinemic.launch):
        with pytest.raises(dinemic.UsageError, match=r"'listne'.*listen"):
            call(tmp_path, listne="127.0.0.1:0")


@pytest.mark.parametrize("home", ["", 5, b"x", "a\0b"])
def test_a_home_that_is_no_path_is_refused(home: object) -> None:
    with pytest.raises(dinemic.UsageError, match="home"):
        dinemic.prepare(home)  # type: ignore[arg-type]


def test_a_home_that_cannot_be_one_is_refused_naming_it(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file")
    for home in (taken, taken / "below"):
        for store in ("memory", "rocksdb"):
            with pytest.raises((dinemic.StoreError, dinemic.UsageError), match="taken"):
                dinemic.prepare(home, store=store)
    assert taken.read_text() == "a file"
    dinemic.prepare(tmp_path / "free")


def test_shutdown_is_idempotent_and_the_home_is_free_again(tmp_path: Path) -> None:
    first = dinemic.prepare(tmp_path)
    p = Person([])
    p.name.set("Bob")
    dinemic.shutdown()
    dinemic.shutdown()
    with pytest.raises(dinemic.NotLaunched):
        dinemic.status()
    with pytest.raises(dinemic.NotLaunched):
        p.name.get()
    second = dinemic.prepare(tmp_path)
    assert second is not first
    assert second.node_id == first.node_id
    assert Person(p.get_db_id()).name.get() == "Bob"


def test_other_options_are_welcome_after_shutdown(tmp_path: Path) -> None:
    dinemic.prepare(tmp_path / "a")
    dinemic.shutdown()
    dinemic.prepare(tmp_path / "b", store="memory")
    assert dinemic.status().home == str(tmp_path / "b")


def test_what_the_library_makes_is_closed_to_other_users(tmp_path: Path) -> None:
    home = tmp_path / "deep" / "home"
    dinemic.prepare(home)
    Person([])
    dinemic.shutdown()
    for path in [home, *home.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        if path.is_dir():
            assert mode == 0o700, path
    for path in (home / "keys").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_the_interpreter_ends_in_order_without_a_shutdown(tmp_path: Path) -> None:
    made = run_script(
        """
        import sys, dinemic
        dinemic.prepare(sys.argv[1])
        class Person(dinemic.DModel):
            name = dinemic.DField("name")
        p = Person([])
        p.name.set("Bob")
        print(p.get_db_id())
        """,
        tmp_path,
    )
    dinemic.prepare(tmp_path)
    assert Person(made.strip()).name.get() == "Bob"


# -- the lists -----------------------------------------------------------------------------------


def test_lists_by_filter_owned_and_not(tmp_path: Path) -> None:
    other = dinemic.prepare(tmp_path / "other", store="memory")
    theirs = Person([]).get_db_id()
    events = [event for event in other.events([p for _, p in other.view.objects()]) if event]
    raws = [raw for _, raw in events]
    dinemic.shutdown()
    node = dinemic.prepare(tmp_path / "home", store="memory")
    node.ingest(other.node_id, raws)
    mine, namesake = Person([]).get_db_id(), Person2([]).get_db_id()
    people = sorted([mine, theirs])
    everything = sorted([*people, namesake])
    for text, found in [
        ("", everything),
        ("*", everything),
        ("Person*", everything),
        ("Person:*", people),
        ("Person:[id]", people),
        ("Person:[ID]", people),
        ("Person2:[id]", [namesake]),
        ("*:[id]", everything),
        (mine, [mine]),
        (theirs, [theirs]),
        ("?erson:[id]", people),
        ("Person:[id]:*", []),
        ("Dog:*", []),
        ("Person", []),
    ]:
        assert dinemic.object_list(text) == found, text
        owned = [name for name in found if name != theirs]
        assert dinemic.object_list_owned(text) == owned, text
    for call in (dinemic.object_list, dinemic.object_list_owned):
        with pytest.raises(ValueError, match="filter"):
            call("Persön:*")
    with pytest.raises(ValueError, match="filter"):
        list(Person.objects("a\nb"))


# -- launch --------------------------------------------------------------------------------------


def test_launch_prepares_listens_and_is_idempotent(tmp_path: Path) -> None:
    node = dinemic.launch(tmp_path, **QUIET)
    assert node.network is not None
    (address,) = node.network.addresses
    assert dinemic.launch(tmp_path, **QUIET) is node
    assert dinemic.launch() is node
    assert dinemic.prepare(tmp_path) is node
    assert node.network.addresses == (address,)
    with pytest.raises(dinemic.UsageError, match="another listen"):
        dinemic.launch(tmp_path, listen="127.0.0.1:1")
    with pytest.raises(dinemic.UsageError, match="another discover"):
        dinemic.launch(discover=True)
    Person([]).name.set("x")
    status = dinemic.status()
    assert status.network is not None


def test_after_prepare_launch_may_still_say_what_the_network_needs(tmp_path: Path) -> None:
    node = dinemic.prepare(tmp_path, cluster="first", models=["Person"])
    p = Person([])
    with pytest.raises(dinemic.UsageError, match="another models"):
        dinemic.launch(models=["Dog"], **QUIET)
    with pytest.raises(dinemic.UsageError, match="host:port"):
        dinemic.launch(listen="nowhere", discover=False)
    assert node.network is None
    assert dinemic.launch(listen="127.0.0.1:0", discover=False) is node
    assert (node.config.cluster, node.config.models) == ("first", ("Person",))
    assert (node.config.listen, node.config.discover) == ("127.0.0.1:0", False)
    p.name.set("Bob")
    with pytest.raises(dinemic.UsageError, match="another cluster"):
        dinemic.launch(cluster="second")


def test_shutdown_stops_traffic_and_launch_works_again(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    node = dinemic.launch(tmp_path, **QUIET)
    assert node.network is not None
    host, port = node.network.addresses[0].split(":")
    socket.create_connection((host, int(port)), timeout=5).close()
    dinemic.shutdown()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5).close()
    left = set(threading.enumerate()) - before
    assert not [thread for thread in left if thread.name.startswith("dinemic")]
    again = dinemic.launch(tmp_path, **QUIET)
    assert again is not node
    assert again.network is not None
    assert again.network.addresses


def test_a_port_that_is_taken_is_an_error_and_another_can_be_tried(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(TransportError, match=str(port)):
            dinemic.launch(tmp_path, listen=f"127.0.0.1:{port}", discover=False)
    node = dinemic.launch(tmp_path, **QUIET)
    assert node.network is not None
    Person([]).name.set("Bob")


# -- one process a home --------------------------------------------------------------------------


def test_a_second_process_on_one_home_is_refused_naming_it(tmp_path: Path) -> None:
    dinemic.prepare(tmp_path)
    p = Person([])
    said = run_script(
        """
        import sys, dinemic
        try:
            dinemic.prepare(sys.argv[1])
        except dinemic.StoreLocked as error:
            print(error)
        """,
        tmp_path,
    )
    assert str(tmp_path) in said
    assert "another process" in said
    p.name.set("still mine")


def test_a_second_node_in_one_process_is_refused_as_well(tmp_path: Path) -> None:
    dinemic.prepare(tmp_path)

    async def main() -> None:
        with pytest.raises(dinemic.StoreLocked):
            async with dinemic.open_node(tmp_path, network=False):
                raise AssertionError("never open")

    trio.run(main)


def test_a_forked_child_gets_usage_errors_and_the_parents_store_stays_whole(
    tmp_path: Path,
) -> None:
    said = run_script(
        """
        import os, sys, warnings, dinemic
        warnings.simplefilter("ignore", DeprecationWarning)  # of fork() beside threads, from 3.12
        class Person(dinemic.DModel):
            name = dinemic.DField("name")
            salary = dinemic.DField("salary", True)
        home = sys.argv[1]
        dinemic.prepare(home)
        p = Person([])
        p.name.set("parent")
        p.salary.set("sealed")
        sealed = p.encrypt("x")
        node = p._node

        def child():
            me = p.get_db_id()
            for attempt in (
                lambda: p.name.get(), lambda: p.name.set("child"), lambda: p.salary.get(),
                p.name.delete, p.remove, p.exists, p.is_owned, p.keys, p.name.conflicts,
                p.get_public_sign_key, p.get_public_encryption_key, lambda: list(p.history()),
                lambda: p.why("name"), lambda: p.is_read_authorized(me),
                lambda: p.append_update_authorized(me), lambda: p.encrypt("x"),
                lambda: p.decrypt(sealed), lambda: Person(me), lambda: Person([]),
                dinemic.status, dinemic.object_list, dinemic.object_list_owned,
                lambda: dinemic.wait_synced(0), node.flush, lambda: node.ingest(b"", []),
            ):
                try:
                    attempt()
                except dinemic.UsageError:
                    continue
                raise AssertionError("a shared store")
            node.close()
            dinemic.shutdown()
            for place in (home, home + "-of-the-child"):
                try:
                    dinemic.prepare(place)
                except dinemic.UsageError as error:
                    assert "spawn" in str(error), error
                else:
                    raise AssertionError("RocksDB does not survive a fork")
            dinemic.prepare(home + "-of-the-child", store="memory")
            q = Person([])
            q.name.set("child")
            assert q.name.get() == "child"
            dinemic.shutdown()

        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                child()
                code = 0
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        p.name.set("parent again")
        assert p.name.get() == "parent again"
        dinemic.shutdown()
        dinemic.prepare(home)
        print(Person(p.get_db_id()).name.get())
        """,
        tmp_path / "home",
    )
    assert said == "parent again\n"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_started_before_the_first_node_has_one_of_its_own(
    tmp_path: Path, method: str
) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        dedent(
            """
            import multiprocessing, sys, dinemic
            class Person(dinemic.DModel):
                name = dinemic.DField("name")
            def work(home):
                dinemic.prepare(home)
                Person([]).name.set("Bob")
                dinemic.shutdown()
            if __name__ == "__main__":
                home, method = sys.argv[1:]
                if method == "spawn":
                    dinemic.prepare(home + "/parent")
                context = multiprocessing.get_context(method)
                child = context.Process(target=work, args=(home + "/child",))
                child.start()
                child.join(30)
                assert child.exitcode == 0, child.exitcode
                dinemic.prepare(home + "/parent")
            """
        )
    )
    subprocess.run([sys.executable, script, tmp_path, method], timeout=60, check=True)
    dinemic.prepare(tmp_path / "child")
    assert [p.name.get() for p in Person.objects()] == ["Bob"]
