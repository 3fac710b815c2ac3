"""Listeners for test_determinism.py: each is wrong in its own way, but for the first."""

from __future__ import annotations

import datetime
import random
import socket
import time as clock
from pathlib import Path
from time import time
from typing import Any

import dinemic


class Sober(dinemic.DAction):
    """Answers from what it is told."""

    def on_update(self, object_id: str, field: str, old_value: Any, new_value: Any) -> None:
        if new_value is None or self.context is None or self.context.t % 7 == 0:
            raise ValueError("not that")

    def on_updated(self, object_id: str, field: str, old_value: Any, new_value: Any) -> None:
        clock.time()  # an effect may do what it likes


class Clocked(dinemic.DAction):
    def on_update(self, object_id: str, field: str, old_value: Any, new_value: Any) -> None:
        if time() > 4e9:
            raise ValueError("too late")


class Dated(dinemic.DAction):
    def on_delete(self, object_id: str, field: str, value: Any) -> None:
        if datetime.datetime.now(datetime.UTC).hour == 3:
            raise ValueError("at night")


class Dicing(dinemic.DAction):
    def on_create(self, object_id: str, key: str) -> None:
        try:
            lucky = random.random() < 2
        except Exception:  # noqa: BLE001 - as users write it
            lucky = True  # hides that it was refused
        assert lucky


class Reading(dinemic.DAction):
    def on_update(self, object_id: str, field: str, old_value: Any, new_value: Any) -> None:
        if Path("/etc/hostname").read_text() == "server":
            raise ValueError("not here")


class Calling(dinemic.DAction):
    def on_remove(self, object_id: str) -> None:
        socket.create_connection(("127.0.0.1", 9), timeout=0.01)


class Counting(dinemic.DAction):
    """Lets three through."""

    def __init__(self) -> None:
        self.count = 0

    def on_update(self, object_id: str, field: str, old_value: Any, new_value: Any) -> None:
        self.count += 1
        if self.count > 3:
            raise ValueError("enough")


class Hashing(dinemic.DAction):
    """Takes whatever comes first out of a set."""

    def on_update(self, object_id: str, field: str, old_value: Any, new_value: Any) -> None:
        if next(iter({object_id, field, "value_name"})) == field:
            raise ValueError("not first")


class Mere(dinemic.DAction):
    def on_updated(self, object_id: str, field: str, old_value: Any, new_value: Any) -> None:
        pass
