"""The store: entries by key, finished in one rename, checked when read, locked while made."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipelang.run.store import Store, key_of

INGREDIENTS = {"verb": "prune", "operation": {"count": 2}, "seed": 0}


def finished(store: Store, ingredients: dict[str, object] = INGREDIENTS, text: str = "weights") -> str:
    key = key_of(ingredients)
    (store.work(key) / "model").write_text(text)
    (store.work(key) / "checkpoint").write_text("left over")
    store.finish(key, ingredients, {"reached": "0.7"}, ["model"])
    return key


def test_a_finished_entry_is_found_with_its_files_and_record(tmp_path: Path) -> None:
    store = Store(tmp_path)
    key = finished(store)
    entry = Store(tmp_path).find(key)
    assert entry is not None
    assert entry.record == {"reached": "0.7"}
    assert (entry.folder / "model").read_text() == "weights"
    assert not (entry.folder / "checkpoint").exists()
    assert not (tmp_path / "work" / key).exists()


def test_unfinished_work_is_no_entry_and_is_found_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    key = key_of(INGREDIENTS)
    (store.work(key) / "checkpoint").write_text("half way")
    assert store.find(key) is None
    assert (Store(tmp_path).work(key) / "checkpoint").read_text() == "half way"


@pytest.mark.parametrize("damage", ["cut", "altered", "gone", "manifest cut", "manifest nonsense", "other key"])
def test_a_damaged_entry_is_noticed_and_made_again(tmp_path: Path, damage: str) -> None:
    store = Store(tmp_path)
    key = finished(store)
    folder = tmp_path / "store" / key[:2] / key
    manifest = folder / "manifest.json"
    if damage == "cut":
        (folder / "model").write_text("wei")
    elif damage == "altered":
        (folder / "model").write_text("Weights")
    elif damage == "gone":
        (folder / "model").unlink()
    elif damage == "manifest cut":
        manifest.write_text(manifest.read_text()[:40])
    elif damage == "manifest nonsense":
        manifest.write_text("[1, 2]")
    else:
        manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "key": "0" * 64}))
    assert store.find(key) is None
    assert not folder.exists()
    finished(store)
    assert store.find(key) is not None


@given(
    st.dictionaries(st.text(max_size=8), st.integers() | st.text(max_size=8) | st.none() | st.booleans(), max_size=5)
)
def test_the_key_depends_on_content_and_not_on_order(ingredients: dict[str, object]) -> None:
    turned = dict(reversed(ingredients.items()))
    assert key_of(ingredients) == key_of(turned)
    assert key_of({**ingredients, "more": 1}) != key_of(ingredients)


def test_finishing_again_replaces_the_entry(tmp_path: Path) -> None:
    store = Store(tmp_path)
    finished(store)
    key = finished(store, text="newer")
    entry = store.find(key)
    assert entry is not None and (entry.folder / "model").read_text() == "newer"


def test_gc_keeps_what_standing_runs_use_and_frees_the_rest(tmp_path: Path) -> None:
    store, output = Store(tmp_path / "store"), tmp_path / "run-1"
    output.mkdir()
    used = finished(store)
    store.remember(output)
    other = Store(tmp_path / "store")
    unused = finished(other, {**INGREDIENTS, "seed": 1})
    (other.work("f" * 64) / "checkpoint").write_text("x" * 100)
    foretold = other.gc(dry_run=True)
    freed = other.gc()
    assert freed == foretold
    assert (freed.entries, freed.unfinished) == (1, 1) and freed.bytes > 100
    assert other.find(used) is not None
    assert other.find(unused) is None
    output.rmdir()
    assert other.gc().entries == 1
    assert other.find(used) is None


HOLDER = """
    import sys, time
    from pathlib import Path
    from recipelang.run.store import Store
    store = Store(Path(sys.argv[1]))
    with store.hold(sys.argv[2]):
        print("held", flush=True)
        time.sleep(60)
"""


def test_a_lock_is_waited_for_and_freed_by_the_death_of_its_holder(tmp_path: Path) -> None:
    key = key_of(INGREDIENTS)
    command = [sys.executable, "-c", textwrap.dedent(HOLDER), str(tmp_path), key]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": os.getcwd()})
    try:
        assert holder.stdout is not None and holder.stdout.readline().strip() == "held"
        store, waited = Store(tmp_path), []
        (store.work(key) / "checkpoint").write_text("theirs")
        assert store.gc().unfinished == 0, "gc must leave what another run is working on"

        def waiting() -> None:
            waited.append(True)
            holder.send_signal(signal.SIGKILL)

        with store.hold(key, waiting):
            assert waited
    finally:
        holder.kill()
        holder.wait()
        if holder.stdout:
            holder.stdout.close()


def test_the_nearest_relative_of_a_step_is_the_one_that_shares_most(tmp_path: Path) -> None:
    store = Store(tmp_path)
    finished(store, {**INGREDIENTS, "seed": 5, "data": "a"})
    near = finished(store, {**INGREDIENTS, "data": "b"})
    found = store.similar({**INGREDIENTS, "data": "c"})
    assert found is not None and found.key == near
    assert store.similar({"verb": "distill"}) is None
