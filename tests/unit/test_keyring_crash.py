"""A process killed while it adds keys: what it had acknowledged is there, whole."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from dinemic.keyring import Keyring

WRITER = """
import sys
from pathlib import Path
from dinemic.keyring import Keyring, ObjectKeys

ring = Keyring.open(Path(sys.argv[1]))
for number in range(100_000):
    keys = ObjectKeys.generate()
    ring.add(number.to_bytes(32, "big"), keys)
    print(number, keys.signing.seed.hex(), keys.sealing.private.hex(), flush=True)
"""
ROUNDS = 3
READ_BEFORE_KILL = (1, 20, 60)


def test_every_acknowledged_key_survives_kill_9_and_nothing_half_is_left(tmp_path: Path) -> None:
    for round_, enough in zip(range(ROUNDS), READ_BEFORE_KILL, strict=True):
        directory = tmp_path / str(round_)
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(directory)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        lines = [writer.stdout.readline() for _ in range(enough)]
        writer.kill()
        lines += writer.stdout.readlines()
        writer.stdout.close()
        writer.wait()
        acknowledged = [line.split() for line in lines if line.endswith("\n")]
        assert len(acknowledged) >= enough
        ring = Keyring.open(directory)
        for number, seed, private in acknowledged:
            found = ring.get(int(number).to_bytes(32, "big"))
            assert found is not None
            assert (found.signing.seed.hex(), found.sealing.private.hex()) == (seed, private)
        assert len(ring.owned()) - len(acknowledged) in (0, 1)
        assert not list(directory.glob(".unfinished-*"))
