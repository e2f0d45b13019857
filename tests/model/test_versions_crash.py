"""Model versions on disk: several processes at once, and writers that are killed half-way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from model.versions import VersionStore

ROOT = Path(__file__).resolve().parents[2]

# A detector that is real to the store and cheap to make, so that the processes meet inside the store and not at import.
WORKER = """
import os, signal, sys
from pathlib import Path
from model.versions import VersionStore

class Detector:
    names = ("a", "b")
    def __init__(self, save=None):
        self.at_save = save
    def save(self, path):
        Path(path).write_bytes(b"w" * 200_000)
        if self.at_save:
            self.at_save()

def add(store, detector=None, **options):
    return store.add(detector or Detector(), metrics=None, label_map={}, fingerprint="f", parent=None,
                     images=1, **options)

store = VersionStore(sys.argv[1])
def die():
    os.kill(os.getpid(), signal.SIGKILL)
"""


def start(root: Path, body: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORKER + body, str(root)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> list[str]:
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return output.split()


def names(store: VersionStore) -> list[str]:
    return [v.name for v in store.list()]


def leftovers(root: Path) -> list[str]:
    return [p.name for p in root.rglob(".tmp-*")]


def test_processes_that_add_promote_and_prune_at_once(tmp_path: Path) -> None:
    """Two writers and a third that prunes and rolls back, while a reader looks all the time."""
    writers = [
        start(
            tmp_path,
            """
print("ready", flush=True)
sys.stdin.readline()
for k in range(12):
    version = add(store)
    store.promote(version.name)
    store.write(version.name, "ranking.json", b"x" * 1000)
    print(version.name)
""",
        )
        for _ in range(2)
    ]
    pruner = start(
        tmp_path,
        """
from model.versions import VersionError
print("ready", flush=True)
sys.stdin.readline()
for k in range(12):
    store.prune(100)
    try:
        print(store.roll_back().name)
    except VersionError:
        pass
""",
    )
    reader = start(
        tmp_path,
        """
import logging
logging.basicConfig()
print("ready", flush=True)
sys.stdin.readline()
looks = 0
while not (store.root / "stop").exists():
    for version in store.list():
        assert version.weights.stat().st_size == 200_000
    serving = store.serving()
    assert serving is None or len(serving.names) == 2
    looks += 1
assert looks > 5, looks
""",
    )
    processes = [*writers, pruner, reader]
    for process in processes:  # wait until all are past their imports
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    added = [name for writer in writers for name in finish(writer)]
    finish(pruner)
    (tmp_path / "stop").touch()
    _, errors = reader.communicate(timeout=60)
    assert (reader.returncode, errors) == (0, "")  # no assertion failed, no version was called damaged
    store = VersionStore(tmp_path)
    assert sorted(added) == names(store)
    assert [v.number for v in store.list()] == list(range(1, 25))
    serving = json.loads((tmp_path / "serving.json").read_text())
    assert {serving["current"], *serving["history"]} <= set(added)
    assert leftovers(tmp_path) == []


def test_readers_do_not_see_a_version_that_is_being_pruned(tmp_path: Path) -> None:
    reader = start(
        tmp_path,
        """
import logging
logging.basicConfig()
print("ready", flush=True)
while not (store.root / "stop").exists():
    store.list()
""",
    )
    assert reader.stdout is not None
    assert reader.stdout.readline() == "ready\n"
    finish(
        start(
            tmp_path,
            """
for k in range(40):
    add(store)
    store.prune(1)
""",
        )
    )
    (tmp_path / "stop").touch()
    _, errors = reader.communicate(timeout=60)
    assert (reader.returncode, errors) == (0, "")
    assert len(names(VersionStore(tmp_path))) == 1


CRASHES = {
    "the weights are written": """
add(store, Detector(die), name="dead")
""",
    "the weights are half written": """
def half():
    (store.root / ".tmp-dead" / "weights.pt").write_bytes(b"w")
    die()
add(store, Detector(half), name="dead")
""",
    "the version is written but not renamed": """
rename = Path.rename
Path.rename = lambda self, target: die() if target.name == "dead" else rename(self, target)
add(store, name="dead")
""",
    "the serving file is written but not renamed": """
replace = Path.replace
Path.replace = lambda self, target: die() if target.name == "serving.json" else replace(self, target)
store.promote(store.list()[1].name)
""",
    "a version is half deleted": """
import shutil
def half(path, **_):
    (path / "version.json").unlink()
    die()
shutil.rmtree = half
store.prune(1)
""",
}


@pytest.mark.parametrize("moment", CRASHES)
def test_a_writer_that_is_killed(moment: str, tmp_path: Path) -> None:
    old, middle, new = finish(start(tmp_path, "print(*(add(store).name for _ in range(3)))"))
    store = VersionStore(tmp_path)
    store.promote(old)
    victim = start(tmp_path, CRASHES[moment])
    victim.communicate(timeout=60)
    assert victim.returncode == -signal.SIGKILL
    left = [old, new] if "deleted" in moment else [old, middle, new]
    assert len(leftovers(tmp_path)) == 1
    assert store.serving() == store.get(old)
    assert names(store) == left
    (fourth,) = finish(start(tmp_path, "print(add(store).name)"))  # the dead writer's lock is free
    assert names(store) == [*left, fourth]
    assert store.get(fourth).number == 4
    assert leftovers(tmp_path) == []
    store.promote(middle if middle in left else new)
    assert store.roll_back() == store.get(old)


def test_a_version_that_is_being_saved_is_not_seen_yet(tmp_path: Path) -> None:
    slow = start(
        tmp_path,
        """
def wait():
    print("saving", flush=True)
    sys.stdin.readline()
add(store, Detector(wait), name="slow")
""",
    )
    assert slow.stdout is not None
    assert slow.stdout.readline() == "saving\n"
    store = VersionStore(tmp_path)
    assert store.list() == []
    assert leftovers(tmp_path) == [".tmp-slow"]
    slow.communicate("go\n", timeout=60)
    assert names(store) == ["slow"]
    assert leftovers(tmp_path) == []
