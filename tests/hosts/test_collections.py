"""Three processes edit one object's collections in a partition: nothing is lost, twice or mixed."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from support.hosts import Host, hosts
from support.relay import Relay

EDITS = 2_000
RUN = 40
SETTLE_SECONDS_MAX = 60.0

# An element is called after who inserted it, and keeps that before the slash whatever it is set to.
BAND = """
class Band(dinemic.DModel):
    albums = dinemic.DList('albums')
    prices = dinemic.DDict('prices')
    sold = dinemic.DCounter('sold')
    tags = dinemic.DSet('tags')

class Fan(dinemic.DModel):
    pass

def edit(p, who, seed, count):
    '''Random edits, single and in transactions; what they should come to.'''
    chosen = random.Random(seed)
    made, deleted, tags, prices, sold = [], [], set(), {}, 0

    def edit_list():
        length = len(p.albums)
        kind = chosen.random()
        if kind < 0.6 or length < 10:
            made.append(f'{who}{len(made)}')
            p.albums.insert(chosen.randrange(length + 1), made[-1])
            return
        with p.transaction() if p._editing.open is None else contextlib.nullcontext():
            at = chosen.randrange(length)
            name = p.albums.at(at).partition('/')[0]
            if name == 'middle':
                return
            if kind < 0.8:
                p.albums.delete(at)
                deleted.append(name)
            else:
                p.albums.set(at, f'{name}/{who}{chosen.random()}')

    def edit_others():
        nonlocal sold
        number = chosen.randrange(50)
        p.prices[f'{who}{number}'] = prices[f'{who}{number}'] = chosen.random()
        p.prices[f'shared {number % 10}'] = f'{who}{number}'
        amount = chosen.randrange(-100, 1000)
        p.sold.add(amount)
        sold += amount
        if chosen.random() < 0.6:
            p.tags.add(f'{who}{number}')
            tags.add(f'{who}{number}')
        else:
            p.tags.discard(f'{who}{number}')
            tags.discard(f'{who}{number}')
        (p.tags.add if chosen.random() < 0.5 else p.tags.discard)('shared')

    left = count
    while left > 0:
        together = chosen.choice([1, 1, 1, 1, 30])
        with p.transaction() if together > 1 else contextlib.nullcontext():
            for _ in range(together):
                edit_list() if chosen.random() < 0.9 else edit_others()
        left -= together
    return {'made': made, 'deleted': deleted, 'tags': sorted(tags), 'prices': prices, 'sold': sold}

def type_runs(p, who, length):
    '''One run typed forwards and one backwards, both where everybody else types, one event each.'''
    at = p.albums.index('middle') + 1
    for n in range(length):
        p.albums.insert(at + n, f'{who} forwards {n}')
    at = p.albums.index('middle')
    for n in reversed(range(length)):
        p.albums.insert(at, f'{who} backwards {n}')
    for n in range(length):
        p.albums.append(f'{who} end {n}')
    return [f'{who} {kind} {n}' for kind in ('forwards', 'backwards', 'end') for n in range(length)]
"""
SHOWN = (
    "{'albums': list(p.albums), 'length': len(p.albums), 'prices': dict(p.prices.items()),"
    " 'sold': p.sold.get(), 'tags': sorted(p.tags), 'digest': node.view.digest_all().hex()}"
)


def at_once(three: Sequence[Host], code: str) -> list[Any]:
    """What each host answers to `code`, in which `who` says who it is."""
    for host in three:
        host.send(code)
    return [host.receive() for host in three]


def settled(three: Sequence[Host]) -> list[dict[str, Any]]:
    """What the hosts show once all show the same."""
    end = time.monotonic() + SETTLE_SECONDS_MAX
    while len({host.digest() for host in three}) > 1:
        assert time.monotonic() < end, "the hosts did not come to the same state"
        time.sleep(0.05)
    return at_once(three, SHOWN)


def test_heavy_editing_in_a_partition_comes_to_one_state_that_has_everything(
    tmp_path: Path, rng: random.Random
) -> None:
    with hosts(tmp_path, "a", "b", "c") as three:
        a, *others = three
        address = a.launch()
        with Relay(address) as to_b, Relay(address) as to_c:
            relays = (to_b, to_c)
            for host, relay in zip(others, relays, strict=True):
                host.launch(peers=[relay.address])
            for host, who in zip(three, "abc", strict=True):
                host.run(f"who = {who!r}\nimport contextlib, random")
                host.run(BAND)
            fans = [str(host.run("me = Fan([])\nme.get_db_id()")) for host in others]
            a.wait(f"set({fans}) <= set(dinemic.object_list())")
            p = a.run(f"p = Band({fans})\np.albums.append('middle')\np.get_db_id()")
            for host in others:
                host.run(f"p = Band({p!r}, me.get_db_id())")
                host.wait("len(p.albums) == 1")

            seed = rng.random()
            plans = at_once(three, f"edit(p, who + '!', who + '!{seed}', 100)")
            settled(three)
            for relay in relays:
                relay.sever()
            plans += at_once(three, f"edit(p, who, who + '{seed}', {EDITS})")
            typed = at_once(three, f"type_runs(p, who, {RUN})")
            assert len(set(map(repr, at_once(three, "list(p.albums)")))) == 3
            for relay in relays:
                relay.mend()
            shown = settled(three)

    first = shown[0]
    assert shown == [first] * 3
    names = [value.partition("/")[0] for value in first["albums"]]
    expected = {"middle"}.union(*(plan["made"] for plan in plans), *typed)
    expected -= {name for plan in plans for name in plan["deleted"]}
    assert len(names) == len(set(names)) == first["length"]
    assert set(names) == expected
    where = {name: index for index, name in enumerate(names)}
    for runs in typed:
        for start in range(0, len(runs), RUN):
            run = runs[start : start + RUN]
            assert all(where[one] + 1 == where[next_] for one, next_ in pairwise(run)), run[0]

    assert first["sold"] == sum(plan["sold"] for plan in plans)
    assert set(first["tags"]) - {"shared"} == {tag for plan in plans for tag in plan["tags"]}
    mine = {key: value for plan in plans for key, value in plan["prices"].items()}
    assert {key: first["prices"][key] for key in mine} == mine
    assert {key for key in first["prices"] if key not in mine} <= {f"shared {n}" for n in range(10)}
