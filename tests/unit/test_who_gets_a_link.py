"""Nodes of one cluster that know its key get a link, whatever it is over (CHAN-1, CHAN-3)."""

import pytest
import trio

from dinemic_engine.errors import TransportError
from support.link_pairs import CLUSTER_KEY, Kind, real_transport, refused_by, run, serving

real = pytest.mark.parametrize("kind", ["tcp", "iroh"])


@real
@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"cluster_key": CLUSTER_KEY}, {"cluster_key": CLUSTER_KEY + b"!"}),
        ({"cluster_key": CLUSTER_KEY}, {}),
        ({}, {"cluster_key": CLUSTER_KEY}),
        ({"cluster": "one"}, {"cluster": "other"}),
        (
            {"cluster": "one", "cluster_key": CLUSTER_KEY},
            {"cluster": "other", "cluster_key": CLUSTER_KEY},
        ),
    ],
)
def test_another_cluster_or_cluster_key_gets_nowhere(
    kind: Kind, ours: dict[str, object], theirs: dict[str, object]
) -> None:
    async def main() -> None:
        one, other = real_transport(kind, 1, **ours), real_transport(kind, 2, **theirs)
        async with serving(one), serving(other) as (address, accepted, _):
            with pytest.raises(TransportError, match=rf"{address}: not a node of this cluster"):
                await one.dial(address)
            await refused_by(other, 1)
            with pytest.raises(trio.WouldBlock):
                accepted.receive_nowait()

    run(main)


@real
def test_holders_of_one_cluster_key_meet(kind: Kind) -> None:
    async def main() -> None:
        one, other = (
            real_transport(kind, number, cluster="c", cluster_key=CLUSTER_KEY) for number in (1, 2)
        )
        async with serving(one), serving(other) as (address, _, _):
            assert (await one.dial(address)).peer == other.node_id

    run(main)
