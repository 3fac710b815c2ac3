"""Keys on disk: durable, closed to others, never replaced, never half, never shown."""

from __future__ import annotations

import copy
import errno
import os
import pickle
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dinemic import keyring as module
from dinemic.keyring import Keyring, ObjectKeys
from dinemic_engine import ids
from dinemic_engine.errors import StoreError, StoreFull, UsageError

ONE, TWO = bytes([1]) * 32, bytes([2]) * 32


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def contents(directory: Path) -> dict[str, tuple[bytes, int, int]]:
    """What a directory holds: bytes, inode and time of change by name."""
    return {
        path.name: (path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns)
        for path in directory.iterdir()
    }


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def fail_with(code: int) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.fixture
def _no_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def test_the_first_open_makes_a_node_key_that_stays(directory: Path) -> None:
    first = Keyring.open(directory)
    assert Keyring.open(directory).node_key == first.node_key
    assert Keyring.open(directory).node_key.seed == first.node_key.seed
    assert first.owned() == frozenset()
    assert Keyring.open(directory.with_name("other")).node_key != first.node_key


def test_generated_keys_are_new_each_time() -> None:
    first, second = ObjectKeys.generate(), ObjectKeys.generate()
    assert first.signing != second.signing
    assert first.sealing != second.sealing
    assert first.signing.seed != first.sealing.private


def test_added_keys_come_back_now_and_after_opening_again(directory: Path) -> None:
    keys = ObjectKeys.generate()
    ring = Keyring.open(directory)
    ring.add(ONE, keys)
    for seen in (ring, Keyring.open(directory), Keyring.open(directory, create=False)):
        found = seen.get(ONE)
        assert found is not None
        assert found.signing.seed == keys.signing.seed
        assert found.sealing.private == keys.sealing.private
        assert seen.owned() == {ONE}
        assert ONE in seen
        assert TWO not in seen
        assert seen.get(TWO) is None


def test_owned_is_the_set_of_that_moment(directory: Path) -> None:
    ring = Keyring.open(directory)
    ring.add(ONE, ObjectKeys.generate())
    before = ring.owned()
    ring.add(TWO, ObjectKeys.generate())
    assert before == {ONE}
    assert ring.owned() == {ONE, TWO}


def test_more_keys_than_memory_keeps_are_read_from_disk(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CACHED_KEYS_MAX", 2)
    ring = Keyring.open(directory)
    kept = {bytes([number]) * 32: ObjectKeys.generate() for number in range(5)}
    for object_id, keys in kept.items():
        ring.add(object_id, keys)
    assert {object_id: ring.get(object_id) for object_id in kept} == kept
    assert len(ring._cached) == 2


def test_the_same_keys_again_change_nothing_on_disk(directory: Path) -> None:
    keys = ObjectKeys.generate()
    ring = Keyring.open(directory)
    ring.add(ONE, keys)
    before = contents(directory)
    ring.add(ONE, keys)
    Keyring.open(directory).add(ONE, keys)
    assert contents(directory) == before


@pytest.mark.parametrize("part", ["signing", "sealing", "both"])
def test_other_keys_for_an_object_are_refused_and_the_first_stay(
    directory: Path, part: str
) -> None:
    keys, other = ObjectKeys.generate(), ObjectKeys.generate()
    forged = {
        "signing": ObjectKeys(other.signing, keys.sealing),
        "sealing": ObjectKeys(keys.signing, other.sealing),
        "both": other,
    }[part]
    ring = Keyring.open(directory)
    ring.add(ONE, keys)
    for seen in (ring, Keyring.open(directory)):
        with pytest.raises(UsageError, match=ids.short(ONE)):
            seen.add(ONE, forged)
        assert seen.get(ONE) == keys


def test_keys_another_writer_left_on_disk_are_never_overwritten(directory: Path) -> None:
    keys = ObjectKeys.generate()
    early = Keyring.open(directory)
    Keyring.open(directory).add(ONE, keys)
    with pytest.raises(UsageError, match="other keys"):
        early.add(ONE, ObjectKeys.generate())
    early.add(ONE, keys)
    assert early.get(ONE) == keys


@pytest.mark.parametrize("object_id", [b"", b"x" * 31, b"x" * 33])
def test_an_id_of_another_length_is_refused(directory: Path, object_id: bytes) -> None:
    ring = Keyring.open(directory)
    with pytest.raises(UsageError, match="32 bytes"):
        ring.add(object_id, ObjectKeys.generate())
    assert ring.get(object_id) is None


# -- closed to others ---------------------------------------------------------------------------


@pytest.mark.usefixtures("_no_umask")
def test_directories_are_0700_and_files_0600_whatever_the_umask(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "home" / "keys"
    ring = Keyring.open(directory)
    ring.add(ONE, ObjectKeys.generate())
    for made in (directory, directory.parent, directory.parent.parent):
        assert mode(made) == 0o700
    assert {mode(path) for path in directory.iterdir()} == {0o600}
    assert len(list(directory.iterdir())) == 3


@pytest.mark.usefixtures("_no_umask")
def test_a_key_is_never_readable_by_others_while_it_is_written(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes: list[int] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        real(descriptor)

    ring = Keyring.open(directory)
    monkeypatch.setattr(os, "fsync", fsync)
    ring.add(ONE, ObjectKeys.generate())
    assert modes == [0o600, 0o700]


@pytest.mark.parametrize("bits", [0o710, 0o704, 0o755, 0o770])
@pytest.mark.parametrize("create", [True, False])
def test_a_directory_others_may_enter_is_refused(directory: Path, bits: int, create: bool) -> None:
    Keyring.open(directory)
    directory.chmod(bits)
    with pytest.raises(StoreError, match=r"other users.*chmod 700"):
        Keyring.open(directory, create=create)
    assert mode(directory) == bits


@pytest.mark.parametrize("name", ["keyring.cbor", "node.key"])
def test_a_file_others_may_read_is_refused_at_open(directory: Path, name: str) -> None:
    Keyring.open(directory)
    (directory / name).chmod(0o640)
    with pytest.raises(StoreError, match=rf"other users may read .*{name}.*chmod 600"):
        Keyring.open(directory)


def test_an_object_key_others_may_read_is_refused_when_asked_for(directory: Path) -> None:
    Keyring.open(directory).add(ONE, ObjectKeys.generate())
    path = directory / f"{ids.to_text(ONE)}.key"
    path.chmod(0o604)
    with pytest.raises(StoreError, match="other users may read"):
        Keyring.open(directory).get(ONE)


def test_a_link_to_a_key_elsewhere_is_refused(directory: Path, tmp_path: Path) -> None:
    Keyring.open(directory)
    (directory / "node.key").rename(tmp_path / "elsewhere")
    (directory / "node.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match=r"node\.key"):
        Keyring.open(directory)


# -- looking without touching -------------------------------------------------------------------


def test_a_reader_changes_nothing_and_refuses_to_add(directory: Path) -> None:
    keys = ObjectKeys.generate()
    Keyring.open(directory).add(ONE, keys)
    (directory / ".unfinished-0011").write_bytes(b"half")
    before = contents(directory), directory.stat().st_mtime_ns
    reader = Keyring.open(directory, create=False)
    assert reader.get(ONE) == keys
    with pytest.raises(UsageError, match="for reading only"):
        reader.add(TWO, ObjectKeys.generate())
    assert (contents(directory), directory.stat().st_mtime_ns) == before


def test_a_reader_of_a_missing_keyring_gets_an_error_and_makes_nothing(directory: Path) -> None:
    with pytest.raises(StoreError, match=str(directory)):
        Keyring.open(directory, create=False)
    assert not directory.exists()
    directory.mkdir(mode=0o700)
    with pytest.raises(StoreError, match=f"no keyring in {directory}"):
        Keyring.open(directory, create=False)
    assert list(directory.iterdir()) == []


# -- crashes and the disk -----------------------------------------------------------------------


def test_a_key_is_synced_then_named_then_its_directory_is_synced(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    real_sync, real_rename = os.fsync, os.rename

    def fsync(descriptor: int) -> None:
        is_directory = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        steps.append("sync directory" if is_directory else "sync file")
        real_sync(descriptor)

    def rename(old: Path, new: Path) -> None:
        steps.append(f"rename to {Path(new).suffix}")
        real_rename(old, new)

    ring = Keyring.open(directory)
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "rename", rename)
    ring.add(ONE, ObjectKeys.generate())
    assert steps == ["sync file", "rename to .key", "sync directory"]


def test_what_a_crash_left_half_written_is_no_key_and_is_cleared_away(directory: Path) -> None:
    node = Keyring.open(directory).node_key
    (directory / ".unfinished-00112233").write_bytes(b"half a ke")
    (directory / "notes.txt").write_bytes(b"not ours")
    ring = Keyring.open(directory)
    assert ring.node_key == node
    assert ring.owned() == frozenset()
    assert {path.name for path in directory.iterdir()} == {"keyring.cbor", "node.key", "notes.txt"}


def test_a_crash_between_header_and_node_key_is_made_good_by_the_next_open(
    directory: Path,
) -> None:
    Keyring.open(directory)
    (directory / "node.key").unlink()
    node = Keyring.open(directory).node_key
    assert Keyring.open(directory).node_key == node


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_store_full_and_keeps_nothing_half(
    directory: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    ring = Keyring.open(directory)
    before = contents(directory)
    keys = ObjectKeys.generate()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail_with(code))
        with pytest.raises(StoreFull, match=ids.to_text(ONE)):
            ring.add(ONE, keys)
    assert contents(directory) == before
    assert ring.owned() == frozenset()
    assert ring.get(ONE) is None
    ring.add(ONE, keys)
    assert ring.get(ONE) == keys


@pytest.mark.parametrize("step", ["open", "fsync", "rename"])
def test_any_other_failure_of_the_disk_is_a_store_error_that_says_why(
    directory: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    ring = Keyring.open(directory)
    before = contents(directory)
    with monkeypatch.context() as patch:
        patch.setattr(os, step, fail_with(errno.EIO))
        with pytest.raises(StoreError, match=os.strerror(errno.EIO)):
            ring.add(ONE, ObjectKeys.generate())
    assert contents(directory) == before


def test_a_directory_that_does_not_sync_has_not_kept_the_key(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    ring = Keyring.open(directory)
    before = contents(directory)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(StoreError):
            ring.add(ONE, ObjectKeys.generate())
    assert contents(directory) == before
    assert ONE not in ring


def test_a_full_disk_at_the_first_open_can_be_tried_again(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", fail_with(errno.ENOSPC))
        with pytest.raises(StoreFull):
            Keyring.open(directory)
    assert Keyring.open(directory).owned() == frozenset()


def test_a_directory_that_is_a_file_is_a_store_error(directory: Path) -> None:
    directory.write_bytes(b"")
    with pytest.raises(StoreError, match=str(directory)):
        Keyring.open(directory)


# -- threads and secrets ------------------------------------------------------------------------


def test_threads_that_add_the_same_object_agree_on_one_pair_of_keys(directory: Path) -> None:
    ring = Keyring.open(directory)
    refused: list[int] = []

    def work(number: int) -> None:
        ring.add(bytes([100 + number]) * 32, ObjectKeys.generate())
        try:
            ring.add(ONE, ObjectKeys.generate())
        except UsageError:
            refused.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 7
    again = Keyring.open(directory)
    assert len(again.owned()) == 9
    assert {object_id: again.get(object_id) for object_id in again.owned()} == {
        object_id: ring.get(object_id) for object_id in ring.owned()
    }


def test_no_secret_is_printed_pickled_or_copied(directory: Path) -> None:
    keys = ObjectKeys.generate()
    ring = Keyring.open(directory)
    ring.add(ONE, keys)
    shown = f"{ring!r} {ring} {keys!r} {keys}"
    for secret in (keys.signing.seed, keys.sealing.private, ring.node_key.seed):
        assert secret.hex() not in shown
        assert repr(secret) not in shown
        assert ids.short(secret) not in shown
    assert shown.startswith(f"Keyring({str(directory)!r}, 1 objects, no passphrase)")
    for holder in (ring, keys):
        with pytest.raises(TypeError):
            pickle.dumps(holder)
        with pytest.raises(TypeError):
            copy.deepcopy(holder)
