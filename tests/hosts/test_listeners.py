"""The seed's three listeners, its text unchanged, in two processes; and what a kill -9 leaves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from support.hosts import Host, RemoteError, hosts

CREATED = """
class ListenerPersonCreate(pydinemic.DAction):
    def on_create(self, object_id, key):
        print("Hey! New object was created. Its ID is: " + object_id)

listener = ListenerPersonCreate()
listener.apply('Person:[id]')
"""

UPDATED = """
class ListenerPersonUpdated(pydinemic.DAction):
    def on_authorized_updated(self, object_id, field, old_value, new_value):
        print("Somebody changed field " + field + " of object " + object_id + " from " + old_value + " to " + new_value)

update_listener = ListenerPersonUpdated()
update_listener.apply('Person:[id]:*')
"""  # noqa: E501 - the seed's own line

PREVENTED = """
class ListenerPersonPreventUnauthorized(pydinemic.DAction):
    def on_unauthorized_update(self, object_id, field, old_value, new_value):
        print("Ops! Somebody wanted to make unauthorized change")
        raise Exception('Update of field ' + field + ' was blocked')

unauthorized_listener = ListenerPersonPreventUnauthorized()
unauthorized_listener.apply('Person:*')
"""


def launch(a: Host, b: Host) -> None:
    """Both hosts as the seed launches them; what they print is kept."""
    b_peers = [a.launch("pydinemic")]
    b.launch("pydinemic", peers=b_peers)
    for host in (a, b):
        host.run("pydinemic.set_loglevel('error')\nimport io, sys\nsys.stdout = io.StringIO()")


def printed(host: Host, lines: int) -> list[str]:
    """What the host has printed, as soon as it is that many lines; never more."""
    host.wait(f"sys.stdout.getvalue().count(chr(10)) >= {lines}")
    assert host.run("node.listeners.drain(20)")
    found: list[str] = host.run("sys.stdout.getvalue().splitlines()")
    assert len(found) == lines
    return found


def test_the_seeds_first_listener_tells_of_every_new_object(tmp_path: Path) -> None:
    with hosts(tmp_path, "a", "b") as (a, b):
        launch(a, b)
        b.run(CREATED)
        theirs = a.run("p = Person([])\np.name.set('Bob')\np.get_db_id()")
        said = "Hey! New object was created. Its ID is: "
        assert printed(b, 1) == [said + theirs]
        mine = b.run("Person([]).get_db_id()")
        assert printed(b, 2) == [said + theirs, said + mine]
        b.wait(f"Person({theirs!r}).name.get() == 'Bob'")
        assert printed(a, 0) == []


def test_the_seeds_second_listener_tells_of_authorized_changes(tmp_path: Path) -> None:
    with hosts(tmp_path, "a", "b") as (a, b):
        launch(a, b)
        chief = b.run("chief = Person([])\nchief.get_db_id()")
        b.run(UPDATED)
        a.wait(f"{chief!r} in pydinemic.object_list()")
        worker = a.run(f"worker = Person([{chief!r}])\nworker.get_db_id()")
        a.run("worker.name.set('Bob')\nworker.salary.set('44321')")

        def said(field: str, old: str, new: str) -> str:
            return f"Somebody changed field {field} of object {worker} from {old} to {new}"

        lists = [said(f"list_{role}_authorized_objects", "", chief) for role in ("read", "update")]
        first = [*lists, said("value_name", "", "Bob"), said("value_salary", "", "44321")]
        assert printed(b, 4) == first, "the chief opens the salary"
        b.run(f"Person({worker!r}, {chief!r}).name.set('Robert')")
        assert printed(b, 5) == [*first, said("value_name", "Bob", "Robert")]
        b.run(f"Person({worker!r}).name.set('Eve')")
        a.wait("worker.name.get() == 'Eve'")
        assert len(printed(b, 5)) == 5, "nobody is told of an unauthorized one"


def test_the_seeds_third_listener_keeps_strangers_out(tmp_path: Path) -> None:
    with hosts(tmp_path, "a", "b") as (a, b):
        launch(a, b)
        a.run(PREVENTED)
        db_id = a.run("p = Person([])\np.name.set('Bob')\np.get_db_id()")
        b.run(f"q = Person({db_id!r}, '')")
        b.wait("q.name.get() == 'Bob'")
        b.run("q.name.set('Eve')")
        assert b.run("q.name.get()") == "Eve", "no listener there yet"
        ops = "Ops! Somebody wanted to make unauthorized change"
        assert printed(a, 1) == [ops]
        assert a.run("p.name.get()") == "Bob"
        assert a.run("node.status().vetoed") == 1
        assert a.run("[event.verdict for event in p.history()][-1]") == "vetoed"

        b.run(PREVENTED)
        with pytest.raises(RemoteError, match="Update of field value_name was blocked") as raised:
            b.run("q.name.set('Mallory')")
        assert raised.value.kind == "UpdateRejected"
        assert printed(b, 1) == [ops]
        a.run("p.name.set('Robert')")
        b.wait("q.name.get() == 'Robert'")
        assert a.run("pydinemic.wait_synced(20)")
        assert a.digest() == b.digest()
        assert (printed(a, 1), printed(b, 1)) == ([ops], [ops])


LOG = """
import os, threading
class Log(dinemic.DAction):
    hold = None
    def on_updated(self, object_id, field, old_value, new_value):
        with open({file!r}, 'a') as log:
            log.write(f'{{old_value}}>{{new_value}} ')
        if new_value == self.hold:
            threading.Event().wait()
Log.hold = {hold!r}
Log().apply('Person:[id]:value_name')
"""


def logged(file: Path) -> list[str]:
    return file.read_text().split() if file.exists() else []


def test_what_a_killed_process_had_not_told_the_next_one_tells(tmp_path: Path) -> None:
    file = tmp_path / "told"

    def log(hold: Any = None) -> str:
        return LOG.format(file=str(file), hold=hold)

    with hosts(tmp_path, "a", "b") as (a, b):
        address = a.launch()
        b.launch(peers=[address])
        b.run(log(hold=3))
        db_id = a.run("p = Person([])\nfor n in range(6): p.name.set(n)\np.get_db_id()")
        b.wait(f"Person({db_id!r}).name.get() == 5")
        b.wait(f"os.path.exists({str(file)!r}) and open({str(file)!r}).read().endswith('2>3 ')")
        b.kill()
        a.run("p.name.set(6)")
        with hosts(tmp_path, "b") as (again,):
            again.launch(peers=[address])
            again.wait(f"Person({db_id!r}).name.get() == 6")
            again.wait("node.status().listeners.queued == 4")
            again.run(log())
            assert again.run("node.listeners.drain(20)")
            again.run("mine = Person([])\nmine.name.set('x')")
            assert again.run("node.listeners.drain(20)")
    cut = ["2>3"]  # was being told
    assert logged(file) == [">0", "0>1", "1>2", *cut, *cut, "3>4", "4>5", "5>6", ">x"]


def test_whenever_a_process_is_killed_every_change_is_told_in_order(tmp_path: Path) -> None:
    file = tmp_path / "told"
    log = LOG.format(file=str(file), hold=None)
    kills, count = 4, 400
    with hosts(tmp_path, "a") as (a,):
        address = a.launch()
        db_id = a.run(f"p = Person([])\nfor n in range({count}): p.name.set(n)\np.get_db_id()")
        for kill in range(kills + 1):
            with hosts(tmp_path, "b") as (b,):
                b.run("import dinemic")
                b.run(f"dinemic.prepare()\n{log}")
                b.launch(peers=[address])
                if kill < kills:
                    reached = count // (kills + 1) * (kill + 1)
                    b.wait(f"{db_id!r} in dinemic.object_list()")
                    b.wait(
                        f"os.path.exists({str(file)!r}) and "
                        f"open({str(file)!r}).read().count('>') >= {reached}"
                    )
                    b.kill()
                else:
                    b.wait(f"open({str(file)!r}).read().endswith('>{count - 1} ')")
                    assert b.run("node.listeners.drain(20)"), "and nothing after that"
    told = [int(re.sub(".*>", "", each)) for each in logged(file)]
    repeated = [at for at in range(1, len(told)) if told[at] == told[at - 1]]
    assert len(repeated) <= kills, "only what was being told"
    assert [value for at, value in enumerate(told) if at not in repeated] == [*range(count)]
