"""A process that has imported everything and opened nothing: it forks one child for each kill."""

from __future__ import annotations

import json
import os
import sys
import traceback
from pathlib import Path

from support import crash_work


def main() -> None:
    """Serve requests, one line of JSON each, until standard input ends."""
    for line in sys.stdin:
        request = json.loads(line)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            _work(writer, **request)
        os.close(writer)
        with os.fdopen(reader, "rb") as lines:
            # The last line may be half of one: it was being said, and so has not been.
            said = [json.loads(each) for each in lines if each.endswith(b"\n")]
        _, status = os.waitpid(child, 0)
        answer = {"said": said, "code": os.waitstatus_to_exitcode(status)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _work(out: int, home: str, script: list[str], at: int, after: bool, threads: bool) -> None:
    try:
        count = crash_work.run(Path(home), script, at, after=after, threads=threads, out=out)
        os.write(out, json.dumps(["steps", count]).encode() + b"\n")
        os._exit(0)
    except BaseException:  # noqa: BLE001 - the child ends here whatever it is
        traceback.print_exc()
        os._exit(1)


if __name__ == "__main__":
    main()
