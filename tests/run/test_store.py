"""The store: entries by key, finished in one rename, checked when read, locked while made."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
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


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sha256", "model"])
@pytest.mark.parametrize("kind", ["gone", "folder", "pipe", "link", "not readable", "empty", "binary", "endless"])
def test_whatever_stands_where_a_file_of_an_entry_was_is_not_believed(tmp_path: Path, name: str, kind: str) -> None:
    store = Store(tmp_path / "store")
    key = finished(store)
    place = tmp_path / "store" / "store" / key[:2] / key / name
    kept = place.read_bytes()
    place.unlink()
    if kind == "folder":
        place.mkdir()
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind == "link":
        (tmp_path / "elsewhere").write_bytes(kept)
        place.symlink_to(tmp_path / "elsewhere")
    elif kind == "endless":
        place.symlink_to("/dev/zero")
    elif kind != "gone":
        place.write_bytes({"not readable": b"\xff\xfe", "empty": b"", "binary": bytes(range(256)) * 50}[kind])
    assert store.find(key) is None
    assert store.why_again(key).startswith("its entry in the store is ")
    assert store.why_again(key) == "", "said once"
    finished(store)
    assert store.find(key) is not None


SHAPES = {
    "list": "[]",
    "null": "null",
    "number": "1e999",
    "text": '"manifest"',
    "deep": "[" * 100_000 + "]" * 100_000,
    "deep record": '{"record": ' + '{"a":' * 100_000 + "1" + "}" * 100_001,
    "long number": "1" * 10_000,
    "twice": '{"key": "a", "key": "b"}',
    "wrong types": '{"key": KEY, "ingredients": [], "record": 3, "files": null}',
    "wrong digests": '{"key": KEY, "ingredients": {}, "record": {}, "files": {"model": 3}}',
    "files elsewhere": '{"key": KEY, "ingredients": {}, "record": {}, "files": {"../../x": "0"}}',
    "file with a zero": '{"key": KEY, "ingredients": {}, "record": {}, "files": {"a\\u0000": "0"}}',
    "not text": '{"key": "\udcff"}',
}


@pytest.mark.parametrize("sealed", [False, True], ids=["digest of before", "digest made to fit"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_manifest_of_any_shape_is_made_again(tmp_path: Path, shape: str, sealed: bool) -> None:
    store = Store(tmp_path)
    key = finished(store)
    folder = tmp_path / "store" / key[:2] / key
    raw = SHAPES[shape].replace("KEY", f'"{key}"').encode("utf-8", "surrogateescape")
    (folder / "manifest.json").write_bytes(raw)
    if sealed:
        (folder / "manifest.sha256").write_text(hashlib.sha256(raw).hexdigest())
    assert store.similar(INGREDIENTS) is None
    assert store.find(key) is None
    assert "damaged" in store.why_again(key)
    assert not folder.exists()


@given(st.data())
def test_a_mutated_entry_says_what_it_said_or_nothing(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as place:
        store = Store(Path(place))
        key = finished(store)
        told = store.find(key)
        file = Path(place) / "store" / key[:2] / key / data.draw(st.sampled_from(["manifest.json", "manifest.sha256"]))
        raw = file.read_bytes()
        start = data.draw(st.integers(0, len(raw)))
        cut = data.draw(st.integers(0, 8))
        file.write_bytes(raw[:start] + data.draw(st.binary(max_size=8)) + raw[start + cut :])
        assert store.find(key) in (None, told)


def test_a_plan_leaves_a_damaged_entry_where_it_is(tmp_path: Path) -> None:
    key = finished(Store(tmp_path))
    folder = tmp_path / "store" / key[:2] / key
    (folder / "manifest.json").write_text("{}")
    looking = Store(tmp_path, looks_only=True)
    assert looking.find(key) is None
    assert "damaged" in looking.why_again(key)
    assert folder.is_dir()


def test_an_entry_without_a_digest_of_its_manifest_is_of_an_older_form(tmp_path: Path) -> None:
    store = Store(tmp_path)
    key = finished(store)
    (tmp_path / "store" / key[:2] / key / "manifest.sha256").unlink()
    assert store.find(key) is None
    assert "an older form" in store.why_again(key)


@pytest.mark.parametrize(
    "note", ["[]", "null", "3", '{"output": 3, "keys": []}', '{"output": "a\\u0000"}', "[" * 10**5]
)
def test_gc_takes_a_damaged_note_of_a_run_for_none(tmp_path: Path, note: str) -> None:
    store = Store(tmp_path)
    key = finished(store)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "0.json").write_text(note)
    assert store.gc().entries == 1
    assert store.find(key) is None


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
    assert store.similar({**INGREDIENTS, "operation": {"is": "another"}}) is None, "no relative, whatever it shares"
