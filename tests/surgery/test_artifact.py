"""A network in a folder: the same network comes back, and a damaged or malicious folder is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import recipelang
from recipelang.errors import Refusal
from recipelang.kinds import Preprocessing
from recipelang.methods.exports.safetensors import Safetensors
from recipelang.methods.patterns.nm import NM
from recipelang.surgery import artifact
from recipelang.surgery.edits import RemoveLayer, apply_edits
from recipelang.surgery.masks import sparsify
from recipelang.surgery.network import Accelerated, Network
from recipelang.surgery.restricting import broken

ACCELERATED = Accelerated(("linear",), ("dense",), "latency")
EDIT = RemoveLayer("layer1.2", ("layer1.2",))


@pytest.fixture
def compressed(digits: Network) -> Network:
    smaller = apply_edits(digits, [EDIT])
    parameters = dict(smaller.module.named_parameters())
    names = ("layer1.0.conv1.weight", "layer2.1.conv2.weight", "linear.weight")
    sparse = sparsify(smaller, NM(), {name: parameters[name].detach().abs() for name in names})
    return replace(sparse, preprocessing=Preprocessing((8, 8), (0.3,), (0.4,)), accelerated=ACCELERATED)


@pytest.fixture
def folder(compressed: Network, tmp_path: Path) -> Path:
    artifact.save(compressed, tmp_path / "net")
    return tmp_path / "net"


def test_what_was_saved_comes_back(compressed: Network, folder: Path) -> None:
    numbers = torch.random.get_rng_state()
    back = artifact.load(folder)
    assert torch.equal(numbers, torch.random.get_rng_state())
    state, saved = back.module.state_dict(), compressed.module.state_dict()
    assert state.keys() == saved.keys() and all(torch.equal(state[k], saved[k]) for k in saved)
    assert all(
        torch.equal(back.masks[k].keep, m.keep) and back.masks[k].pattern == "2:4" for k, m in compressed.masks.items()
    )
    for field in ("source", "input_shape", "edits", "classes", "preprocessing", "accelerated"):
        assert getattr(back, field) == getattr(compressed, field)
    assert not broken(back)


def test_the_files_and_their_bytes(compressed: Network, folder: Path, tmp_path: Path) -> None:
    assert sorted(p.name for p in folder.iterdir()) == sorted(artifact.FILES)
    artifact.save(artifact.load(folder), tmp_path / "again")
    for name in artifact.FILES:
        assert (folder / name).read_bytes() == (tmp_path / "again" / name).read_bytes()
    assert json.loads((folder / "surgery.json").read_text())["edits"] == [EDIT.json()]


def test_a_network_without_masks_or_edits(digits: Network, tmp_path: Path) -> None:
    artifact.save(digits, tmp_path)
    back = artifact.load(tmp_path)
    assert (back.masks, back.edits, back.preprocessing) == ({}, (), None)


def test_the_source_is_as_readable_as_it_is(folder: Path) -> None:
    assert json.loads((folder / "model.json").read_text()) == {
        "format": "recipelang.model/2",
        "source": {
            "model": "digits_resnet",
            "settings": {"classes": 10},
            "classes": [str(k) for k in range(10)],
            "input_shape": [1, 8, 8],
        },
        "input_shape": [1, 8, 8],
        "classes": [str(k) for k in range(10)],
        "preprocessing": {"size": [8, 8], "mean": [0.3], "std": [0.4], "resize": None},
        "accelerated": {"layers": ["linear"], "kernels": ["dense"], "goal": "latency", "int8": False},
    }


def test_fresh_weights_keep_the_architecture_and_the_masks(compressed: Network) -> None:
    first, again, other = artifact.fresh(compressed, 1), artifact.fresh(compressed, 1), artifact.fresh(compressed, 2)
    weights = [net.module.state_dict() for net in (first, again, other)]
    assert weights[0].keys() == compressed.module.state_dict().keys()
    assert all(torch.equal(weights[0][k], weights[1][k]) for k in weights[0])
    assert not torch.equal(weights[0]["conv1.weight"], weights[2]["conv1.weight"])
    assert not torch.equal(weights[0]["conv1.weight"], compressed.module.conv1.weight)
    assert not broken(first) and first.masks


def change_json(name: str, change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        value = json.loads((folder / name).read_text())
        value = change(value) or value
        (folder / name).write_text(json.dumps(value))

    return damage


def change_tensors(name: str, change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        tensors = load_file(folder / name)
        change(tensors)
        save_file(tensors, folder / name)

    return damage


def write(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content)  # type: ignore[return-value]


DAMAGES = {
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "RCP0714", "no `model.safetensors`"),
    "no model": (lambda folder: (folder / "model.json").unlink(), "RCP0714", "no `model.json`"),
    "no restrictions": (
        lambda folder: (folder / "restrictions.safetensors").unlink(),
        "RCP0714",
        "no `restrictions.safetensors`",
    ),
    "torn weights": (
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-9]),
        "RCP0714",
        "cannot be read",
    ),
    "a pickle for weights": (
        write("model.safetensors", b"\x80\x04cos\nsystem\n(S'false'\ntR."),
        "RCP0714",
        "cannot be read",
    ),
    "no JSON": (write("model.json", b"{"), "RCP0714", "cannot be read"),
    "no text": (write("surgery.json", b"\xff\xfe\x00"), "RCP0714", "cannot be read"),
    "JSON without end": (write("model.json", b"[" * 200_000), "RCP0714", "cannot be read"),
    "another format": (change_json("model.json", lambda v: v.update(format="other/1")), "RCP0714", "format"),
    "a list": (change_json("surgery.json", lambda v: [v]), "RCP0714", "format"),
    "no source": (change_json("model.json", lambda v: v.pop("source") and None), "RCP0714", "`source` is missing"),
    "a source that is text": (
        change_json("model.json", lambda v: v.update(source="os.system")),
        "RCP0714",
        "wrong entry",
    ),
    "an unknown model": (
        change_json("model.json", lambda v: v["source"].update(model="../evil")),
        "RCP0714",
        "does not build a network",
    ),
    "a model that is a list": (
        change_json("model.json", lambda v: v["source"].update(model=["x"])),
        "RCP0714",
        "not a string",
    ),
    "an artifact in it": (
        change_json(
            "model.json", lambda v: v["source"].update(model="artifact", settings={"folder": "/", "classes": 10})
        ),
        "RCP0714",
        "does not build a network",
    ),
    "an unknown setting": (
        change_json("model.json", lambda v: v["source"]["settings"].update(hooks="x")),
        "RCP0714",
        "hooks",
    ),
    "a billion classes": (
        change_json("model.json", lambda v: v["source"]["settings"].update(classes=10**9)),
        "RCP0714",
        "holds `1000000000`, not a whole number from 1 to 65,536",
    ),
    "a giant image": (
        change_json("model.json", lambda v: v["source"].update(input_shape=[1, 10**6, 10**6])),
        "RCP0714",
        "holds `1000000`, not a whole number",
    ),
    "no image": (change_json("model.json", lambda v: v.update(input_shape=[1, 0, 8])), "RCP0714", "not a whole number"),
    "code without trust": (
        change_json(
            "model.json", lambda v: v["source"].update(model="python", settings={"where": "x.py:f", "classes": 10})
        ),
        "RCP0711",
        "x.py",
    ),
    "an edit too many": (
        change_json("surgery.json", lambda v: v["edits"].append({"edit": "remove_layer", "name": "z", "paths": ["z"]})),
        "RCP0701",
        "`z`",
    ),
    "an edit too few": (change_json("surgery.json", lambda v: v["edits"].clear()), "RCP0707", "layer1.2"),
    "an edit that is none": (
        change_json("surgery.json", lambda v: v["edits"].append({"edit": "exec"})),
        "RCP0714",
        "not an edit",
    ),
    "masks that are a list": (
        change_json("surgery.json", lambda v: v.update(restrictions=[])),
        "RCP0714",
        "wrong entry",
    ),
    "a mask too few": (
        change_json("surgery.json", lambda v: v["restrictions"].popitem() and None),
        "RCP0714",
        "nothing for",
    ),
    "a mask of another shape": (
        change_tensors(
            "restrictions.safetensors",
            lambda t: t.update({"linear.weight@mask.keep": torch.ones(3, 3, dtype=torch.bool)}),
        ),
        "RCP0705",
        "linear.weight",
    ),
    "a mask that is no mask": (
        change_tensors("restrictions.safetensors", lambda t: t.update({"linear.weight@mask.keep": torch.ones(10, 32)})),
        "RCP0714",
        "a mask has",
    ),
    "weights under a mask": (
        change_tensors("model.safetensors", lambda t: t["linear.weight"].fill_(1)),
        "RCP0714",
        "not as its mask keeps them",
    ),
    "a weight of another shape": (
        change_tensors("model.safetensors", lambda t: t.update({"conv1.weight": torch.ones(16, 3, 3, 3)})),
        "RCP0707",
        "`conv1.weight` is 16×3×3×3 and should be 16×1×3×3",
    ),
    "a weight missing": (
        change_tensors("model.safetensors", lambda t: t.pop("conv1.weight")),
        "RCP0707",
        "missing: `conv1.weight`",
    ),
    "a weight that is NaN": (
        change_tensors("model.safetensors", lambda t: t["conv1.weight"].fill_(float("nan"))),
        "RCP0707",
        "NaN",
    ),
}


@pytest.mark.parametrize("case", DAMAGES)
def test_a_damaged_folder_is_refused(case: str, folder: Path) -> None:
    damage, code, word = DAMAGES[case]
    damage(folder)
    with pytest.raises(Refusal) as caught:
        artifact.load(folder)
    assert (caught.value.code, word in caught.value.message) == (code, True), caught.value.message
    assert caught.value.help


@pytest.mark.parametrize(
    "written",
    [
        5,
        "all",
        True,
        [],
        {},
        {**ACCELERATED.json(), "layers": 5},
        {**ACCELERATED.json(), "layers": "linear"},
        {**ACCELERATED.json(), "layers": [["linear"]]},
        {**ACCELERATED.json(), "kernels": None},
        {**ACCELERATED.json(), "goal": "speed"},
        {**ACCELERATED.json(), "goal": []},
        {**ACCELERATED.json(), "int8": "no"},
    ],
)
def test_hostile_settings_of_accelerate_are_refused(written: Any, folder: Path) -> None:
    model = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps({**model, "accelerated": written}))
    with pytest.raises(Refusal) as refused:
        recipelang.load(folder)
    assert refused.value.code == "RCP0714"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="no `model.json`"):
        recipelang.load(tmp_path / "nowhere")


def test_a_link_in_the_way_is_replaced_and_not_followed(digits: Network, tmp_path: Path) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("keep")
    (tmp_path / "net").mkdir()
    for name in artifact.FILES:
        (tmp_path / "net" / name).symlink_to(precious)
    artifact.save(digits, tmp_path / "net")
    assert precious.read_text() == "keep"
    assert artifact.load(tmp_path / "net").classes == digits.classes


def test_hostile_names_stay_inside_the_folder(digits: Network, tmp_path: Path) -> None:
    hostile = ("../../evil", "<script>", "a\x00b", "\udcff", *digits.classes[4:])
    network = replace(digits, classes=hostile, source={**digits.source, "classes": list(hostile)})
    artifact.save(network, tmp_path / "net")
    assert [p.name for p in tmp_path.iterdir()] == ["net"]
    assert artifact.load(tmp_path / "net").classes == hostile


def test_weights_that_share_memory_are_saved_whole(wrap: Callable[..., Network], tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    module[1].weight = module[0].weight
    artifact.save(wrap(module), tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    assert torch.equal(saved["0.weight"], saved["1.weight"])


def test_state_that_is_no_tensor_is_refused(wrap: Callable[..., Network], tmp_path: Path) -> None:
    class Odd(nn.Linear):
        def get_extra_state(self) -> object:
            return {"x": object()}

    with pytest.raises(Refusal) as caught:
        artifact.save(wrap(nn.Sequential(Odd(2, 2))), tmp_path)
    assert caught.value.code == "RCP0716"


def test_what_was_saved_is_held_against_the_network(come_in: Callable[..., Network], tmp_path: Path) -> None:
    network = come_in("return self.level * self.scores(x)", "self.level = 1.0")
    artifact.save(network, tmp_path / "good")
    artifact.require_readable(network, tmp_path / "good")
    network.module.level = 2.0  # as training might change it
    artifact.save(network, tmp_path / "net")
    with pytest.raises(Refusal, match=r"saved and loaded again, gives a different answer: .* `level`$") as caught:
        artifact.require_readable(network, tmp_path / "net")
    assert caught.value.code == "RCP0723"
    with pytest.raises(Refusal, match="`level`"):
        Safetensors().write(network, tmp_path / "export")
    assert not list((tmp_path / "export").iterdir())


def test_bytes_that_changed_on_the_way_are_seen(compressed: Network, folder: Path) -> None:
    change_tensors("model.safetensors", lambda t: t["conv1.weight"].mul_(1 + 1e-6))(folder)
    with pytest.raises(Refusal, match="`conv1.weight` is not read as it was written") as caught:
        artifact.require_readable(compressed, folder)
    assert caught.value.code == "RCP0714"
