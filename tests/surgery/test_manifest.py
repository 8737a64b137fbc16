"""Folders from strangers: the network is loaded or the folder is refused, in bounded memory."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

import recipelang
from recipelang.errors import Refusal
from recipelang.kinds import Preprocessing
from recipelang.methods.patterns.nm import NM
from recipelang.nets.digits_resnet import digits_resnet
from recipelang.surgery import artifact
from recipelang.surgery.edits import RemoveLayer, apply_edits
from recipelang.surgery.masks import sparsify
from recipelang.surgery.network import Network


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that one can hold: edits, a packed mask, preprocessing."""
    torch.manual_seed(0)
    names = tuple(str(k) for k in range(10))
    source = {"model": "digits_resnet", "settings": {"classes": 10}, "classes": list(names), "input_shape": [1, 8, 8]}
    whole = Network(digits_resnet(), source, (1, 8, 8), classes=names)
    smaller = apply_edits(whole, [RemoveLayer("layer1.2", ("layer1.2",))])
    scores = {"linear.weight": smaller.module.linear.weight.detach().abs()}
    network = replace(sparsify(smaller, NM(), scores), preprocessing=Preprocessing((8, 8), (0.3,), (0.4,)))
    place = tmp_path_factory.mktemp("original") / "net"
    artifact.save(network, place, packed=True)
    return place


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return shutil.copytree(original, tmp_path / "net")


def told(folder: Path, name: str = "model.json") -> Any:
    return json.loads((folder / name).read_text())


def say(folder: Path, value: Any, name: str = "model.json") -> None:
    (folder / name).write_text(json.dumps(value))


def put(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy of nested lists and mappings with another value at a path."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = put(copy[path[0]], path[1:], new)
    return copy


def refused(folder: Path, words: str) -> Refusal:
    with pytest.raises(Refusal, match=words) as caught:
        recipelang.load(folder)
    assert caught.value.help and len(caught.value.message) < 400
    return caught.value


SOURCE, SETTINGS = ("source",), ("source", "settings")
SHAPE, SOURCE_SHAPE = ("input_shape",), ("source", "input_shape")
PRE = ("preprocessing",)
LONG = "x" * 100_000
MASK = {"kind": "mask", "pattern": "2:4"}

#: where → what a stranger writes there
HOSTILE: list[tuple[tuple[Any, ...], list[Any]]] = [
    (SHAPE, [[1, 5792, 5792], [1, 10**9, 10**9], [1, 8], [1, 8, 8, 8], [1.0, 8, 8], [True, 8, 8], [1, "8", 8], [], None,
             [-1, 8, 8], [1, 1e400, 8], [10**400, 1, 1], "188", {"0": 1}]),
    (SOURCE_SHAPE, [[1, 5792, 5792], [1, 10**9, 10**9], [1, 8.0, 8], [3, 8, 8, 1], None, [1, 1e400, 8]]),
    ((*SETTINGS, "classes"), [10.0, "10", True, None, 10**9, 9, 11, -10, 1e400, [10]]),
    (("classes",), [["one"], ["same"] * 10, [], [str(k) for k in range(11)], [1, 2, 3], "abcdefghij", None,
                    [LONG, *map(str, range(9))], [["a"]] * 10, {str(k): k for k in range(10)}]),
    (("source", "classes"), [["one"], ["same"] * 10, [], None, list(range(10)), [str(k) for k in range(9)]]),
    ((*PRE, "mean"), [[], [float("nan")], [1e400], [-1e400], [1e308], [0.3, 0.3], None, 0.3,
                      ["0.3"], [[0.3]], [True]]),
    ((*PRE, "std"), [[], [0], [0.0], [-1], [float("nan")], [1e400], [1e-300], [0.4, 0.4, 0.4], None, [None]]),
    ((*PRE, "size"), [[8], [8, 8, 8], [8.0, 8], [0, 8], [10**9, 10**9], [5792, 5792], None, "88", [True, True]]),
    ((*PRE, "resize"), [0, -1, 8.5, "9", 10**9, 1e400, [9], True]),
    (PRE, [5, [], {}, "none", True]),
    (SOURCE, [None, [], "os.system", {}, 5]),
    (("source", "model"), [None, 5, ["digits_resnet"], {}, "", "artifact", "../evil", LONG, "_own", "python\x00"]),
    (SETTINGS, [None, [], "x", {}, {"classes": 10, "weights": 5}, {"classes": 10, "weights": "a\x00b"},
                {"classes": 10, "at": "x"}, {"classes": 10, "hooks": 1}, {"classes": 10, "__class__": "x"}]),
    (("accelerated",), [5, {}, [], "all", {"layers": [5], "kernels": [], "goal": "latency", "int8": False},
                        {"layers": [LONG], "kernels": [], "goal": "latency", "int8": False}]),
    (("packed",), [5, [], {"linear.weight": [10**9, 10**9]}, {"linear.weight": [10, 32.0]}, {"linear.weight": None},
                   {"linear.weight": [-10, -32]}, {"nothing": [10, 32]}, {"linear.weight": [32, 10]},
                   {"linear.weight": [320]}]),
    (("format",), [None, 5, "recipelang.model/0", "recipelang.model/1", "recipelang.model/" + "9" * 5000,
                   ["recipelang.model/2"]]),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value"), [(path, value) for path, values in HOSTILE for value in values])
def test_hostile_entries_are_refused(path: tuple[Any, ...], value: Any, folder: Path) -> None:
    say(folder, put(told(folder), path, value) if path != ("format",) else {**told(folder), "format": value})
    with pytest.raises(Refusal) as caught:
        recipelang.load(folder)
    assert caught.value.code in ("RCP0714", "RCP1301", "RCP1302") and caught.value.help, caught.value.message
    assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("edits",), 5),
        (("edits",), [5]),
        (("edits",), [{"edit": "remove_layer", "name": "layer1.2", "paths": [""]}]),
        (("edits",), [{"edit": "remove_layer", "name": LONG, "paths": 5}]),
        (("edits",), [{"edit": "remove_layer", "name": "x", "paths": ["layer1.2"]}] * 20_000),
        (("edits",), [{"edit": "remove_layer", "name": "head", "paths": ["linear"]}]),
        (("edits",), [{"edit": "remove_layer", "name": "x", "paths": ["layer1.2"] * 3 + [LONG]}]),
        (("restrictions",), []),
        (("restrictions",), {"linear.weight": 5}),
        (("restrictions",), {"linear.weight": [5]}),
        (("restrictions",), {"linear.weight": []}),
        (("restrictions",), {"linear.weight": [MASK] * 2}),
        (("restrictions",), {"linear.weight": [MASK] * 20_000}),
        (("restrictions",), {"linear.weight": [{**MASK, "pattern": LONG}]}),
        (("restrictions",), {"linear.weight": [{**MASK, "more": 1}]}),
        (("restrictions",), {"linear.weight": [{"pattern": "2:4"}]}),
        (("restrictions",), {"linear.weight": [{**MASK, "kind": ["mask"]}]}),
        (("restrictions",), {"nothing": [MASK]}),
        (("restrictions",), {}),
    ],
)
def test_hostile_edit_logs_are_refused(path: tuple[Any, ...], value: Any, folder: Path) -> None:
    say(folder, put(told(folder, "surgery.json"), path, value), "surgery.json")
    with pytest.raises(Refusal) as caught:
        recipelang.load(folder)
    assert caught.value.code in ("RCP0714", "RCP0701", "RCP0707") and len(caught.value.message) < 2000


def test_an_edit_log_that_takes_the_head_away(digits: Network, tmp_path: Path) -> None:
    artifact.save(digits, tmp_path)
    edits = [{"edit": "remove_layer", "name": "head", "paths": ["linear"]}]
    say(tmp_path, {**told(tmp_path, "surgery.json"), "edits": edits}, "surgery.json")
    tensors = {k: v for k, v in load_file(tmp_path / "model.safetensors").items() if not k.startswith("linear")}
    save_file(tensors, tmp_path / "model.safetensors")
    assert refused(tmp_path, "it gives 32 scores and has 10 classes").code == "RCP0714"


@pytest.mark.parametrize("name", artifact.FILES)
def test_what_is_no_regular_file_is_not_waited_for(name: str, folder: Path) -> None:
    for make in (
        lambda: os.mkfifo(folder / name),
        lambda: (folder / name).symlink_to("/dev/zero"),
        lambda: (folder / name).mkdir(),
    ):
        kept = (folder / name).read_bytes()
        (folder / name).unlink()
        make()
        assert refused(folder, "not a regular file").code == "RCP0714"
        (folder / name).rmdir() if (folder / name).is_dir() else (folder / name).unlink()
        (folder / name).write_bytes(kept)


@pytest.mark.parametrize("name", ["model.json", "surgery.json"])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 200_000, "cannot be read"),
        ('{"a":' * 200_000, "cannot be read"),
        ("9" * 100_000, "cannot be read"),
        ('{"format": NaN}', "`NaN` is not a number"),
        ('{"format": "recipelang.model/1", "format": 5}', "twice"),
        ("null", "format"),
        ("", "cannot be read"),
        (" " * (2**24 + 1), "larger than 16 MiB"),
    ],
)
def test_json_without_measure_is_refused(name: str, text: str, words: str, folder: Path) -> None:
    (folder / name).write_text(text)
    assert refused(folder, words).code == "RCP0714"


def header(entries: Any, data: bytes = b"") -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + data


EMPTY = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}


@pytest.mark.parametrize("name", ["model.safetensors", "restrictions.safetensors"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (header({f"t{i}": EMPTY for i in range(200_000)}), "mapping of 200,000"),
        (header({"a": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}, b"\0"), "`a` as `F8_E4M3`"),
        (header({"a": {"dtype": "C64", "shape": [1], "data_offsets": [0, 8]}}, bytes(8)), "`a` as `C64`"),
        (header({"a": {"dtype": ["F32"], "shape": [1], "data_offsets": [0, 4]}}, bytes(4)), "cannot be read"),
        (header({"a": 5}), "cannot be read"),
        (header([]), "cannot be read"),
        (header({"a": {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 4]}}, bytes(4)), "cannot be read"),
        (struct.pack("<Q", 2**63) + b"{}", "longer than the file"),
        (struct.pack("<Q", 2**25) + bytes(2**25), "too long"),
        (header({}) + bytes(4), "cannot be read|masks|missing"),
        (b"", "cannot be read"),
    ],
)
def test_hostile_tensors_are_refused(name: str, content: bytes, words: str, folder: Path) -> None:
    (folder / name).write_bytes(content)
    assert refused(folder, words).code in ("RCP0714", "RCP0707")


def test_a_file_of_a_terabyte_is_refused_before_it_is_read(folder: Path) -> None:
    size = 2**40
    text = json.dumps({"a": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + size)
    assert "more than the network can hold" in refused(folder, "bytes").message


@pytest.mark.parametrize("kind", [torch.complex64, torch.int8, torch.bool])
def test_weights_of_a_type_that_means_something_else(kind: torch.dtype, digits: Network, tmp_path: Path) -> None:
    artifact.save(digits, tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    save_file({**tensors, "linear.bias": tensors["linear.bias"].to(kind)}, tmp_path / "model.safetensors")
    with pytest.raises(Refusal) as caught:
        artifact.load(tmp_path)
    assert caught.value.code in ("RCP0714", "RCP0707")


def test_the_folder_of_a_run_points_to_its_network(digits: Network, tmp_path: Path) -> None:
    artifact.save(digits, tmp_path / "x-1" / "main")
    artifact.save(digits, tmp_path / "x-1" / "alpha")
    run = tmp_path / "x-1"
    assert f"use its network `{run / 'main'}`; it also has `alpha`" in refused(run, "no `model.json`").help
    assert f"name its folder: `{run / 'main'}`" in refused(run / "main/model.json", "no `model.json`").help
    assert "since a run or" in refused(tmp_path, "no `model.json`").help


def test_the_folder_of_a_run_over_seeds_points_to_the_networks_below(digits: Network, tmp_path: Path) -> None:
    for seed in (0, 1):
        artifact.save(digits, tmp_path / "run" / "sparse" / f"seed-{seed}")
    with pytest.raises(Refusal) as caught:
        recipelang.load(tmp_path / "run")
    assert f"`{tmp_path / 'run' / 'sparse' / 'seed-0'}`" in caught.value.help
    assert "`sparse/seed-1`" in caught.value.help


@pytest.mark.parametrize("name", ["~nouser-here/x", "a\x00b", "x" * 5000, "/".join(["d"] * 1500), "", "/dev/null"])
def test_paths_that_lead_nowhere(name: str) -> None:
    for load in (artifact.load, recipelang.load):
        with pytest.raises(Refusal) as caught:
            load(Path(name))
        assert caught.value.code in ("RCP0714", "RCP1214") and len(caught.value.message) < 400


def test_a_home_folder_is_understood(digits: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    artifact.save(digits, tmp_path / "net")
    assert recipelang.load("~/net").classes == digits.classes


# a law ----------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from([10**9, 10**30, -1, 0, 1e308, "F" * 3000, "2:4", "linear.weight", "resnet20", "torchvision"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=6,
)  # fmt: skip


def paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in nested lists and mappings."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(path for key, item in inner for path in paths(item, (*here, key)))]


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_said_the_network_comes_or_is_refused(folder: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["model.json", "surgery.json"]))
    before = told(folder, name)
    changed = before
    for _ in range(data.draw(st.integers(1, 2))):
        changed = put(changed, data.draw(st.sampled_from(paths(changed))), data.draw(VALUES))
    say(folder, changed, name)
    try:
        predictor = recipelang.load(folder)
    except Refusal as refusal:
        assert refusal.code.startswith("RCP") and len(refusal.message) < 2000
    else:
        shape = predictor.network.input_shape
        assert predictor(torch.zeros(1, *shape)).shape == (1, len(predictor.classes))
    finally:
        say(folder, before, name)


def test_a_network_without_edits_is_not_run_again(
    digits: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact.save(digits, tmp_path)

    def never(*_: object) -> Callable[..., nn.Module]:
        raise AssertionError

    monkeypatch.setattr(artifact, "outputs_of", never)
    loaded = artifact.load(tmp_path)
    assert loaded.edits == () and loaded.classes == digits.classes
    for name, tensor in digits.module.state_dict().items():
        assert torch.equal(loaded.module.state_dict()[name], tensor)
