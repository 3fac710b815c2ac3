"""Nodes that lived through something show what the slow replica makes of their events."""

from __future__ import annotations

from dataclasses import replace

from dinemic.testing import draw, perform
from dinemic.testing.plays import STANDARD
from dinemic.testing.site import Site
from support.reference_checks import check_store


def test_i_05_nodes_of_a_world_show_what_the_replica_makes_of_their_events() -> None:
    checked: list[Site] = []

    def judge(site: Site) -> None:
        check_store(site.node.view, site.now_us())
        checked.append(site)

    judged = replace(STANDARD, listeners=(), judges=(judge,))
    for seed in (3, 4):
        perform(judged, seed, draw(judged, seed, 40))
    assert checked
