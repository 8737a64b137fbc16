"""Deep Compression in whole runs: shared values through training, bytes of every step, files that are smaller."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import recipelang
from recipelang.errors import StepFailed
from recipelang.kinds import Figure
from recipelang.kinds.figure import words
from recipelang.surgery import artifact
from recipelang.surgery.network import Network
from recipelang.surgery.restricting import broken
from recipelang.surgery.restrictions.shared import Shared

HEAD = "model digits_resnet\ndata digits\nmeasure top1, size, size(gaps=true)\n"
PRUNED = HEAD + "sparsify weights by magnitude to 80% except last\n"
SHARED = PRUNED + "share weights to 4 bits by kmeans in type(Linear)\nshare weights to 5 bits in type(Conv2d)\n"
TRAINED = SHARED + "finetune for 2 steps with sgd(lr=1e-3, momentum=0.9)\n"
ENCODED = TRAINED + "encode by huffman\n"


def sizes(told: list[dict[str, Any]]) -> dict[str, float]:
    """Bytes by name, of the figures of a step."""
    return {figure["what"]: figure["value"] for figure in told if figure.get("unit") == "B"}


def groups(network: Network) -> dict[str, Shared]:
    return {place: one for place, each in network.restrictions.items() for one in each if isinstance(one, Shared)}


def test_the_three_steps_tell_their_bytes_and_the_file_has_them(lab: Any) -> None:
    done = lab.run(ENCODED)
    first, second = done.steps(verb="share")
    (encoded,) = done.steps(verb="encode")
    assert words(tuple(Figure(**figure) for figure in first["reached"])).startswith("1 weight shares 16 values each")
    shared = sizes(first["reached"])["shared"] + sizes(second["reached"])["shared"]
    told = sizes(encoded["reached"])
    assert told["float32"] > told["without zeros"] > told["as codes"] > told["encoded"]
    assert told["as codes"] == shared and len(encoded["edits"]) == 22
    assert "22 weights encoded" in (done.folder / "report.md").read_text()
    file = (done.folder / "main" / "model.safetensors").stat().st_size
    assert file < 0.2 * (lab.run(TRAINED).folder / "main" / "model.safetensors").stat().st_size
    assert 0.8 * file < done.metric("size") < file, "the file also has the names of codes and gaps"
    assert done.metric("size") == done.metric("size(gaps=true)")
    back, images = recipelang.load(done.folder / "main"), torch.rand(3, 1, 8, 8)
    assert torch.equal(back(images), recipelang.load(lab.run(TRAINED).folder / "main")(images)), "nothing is lost"


def test_training_moves_values_and_no_assignment_and_no_zero(lab: Any) -> None:
    before, after = (artifact.load(lab.run(text).folder / "main") for text in (SHARED, TRAINED))
    assert not broken(after) and len(after.masks) == 21
    moved = 0
    for name, one in groups(after).items():
        assert torch.equal(one.codes, groups(before)[name].codes)
        weights = [network.module.get_parameter(name).detach() for network in (before, after)]
        assert all(len(weight.unique()) <= one.count + 1 for weight in weights)
        moved += int(not torch.equal(*weights))
        if name in after.masks:
            assert torch.equal(one.codes >= 0, after.masks[name].keep) and not weights[1][~after.masks[name].keep].any()
    assert moved > 20 and len(groups(after)) == 22


def test_masks_alone_count_by_gaps_only_where_asked(lab: Any) -> None:
    pruned = lab.run(PRUNED).variant()["metrics"]
    assert pruned["size"]["ratio"] == 1 and 0.2 < pruned["size(gaps=true)"]["ratio"] < 0.45


def test_a_quantized_network_is_encoded_too(lab: Any, apart: Any) -> None:
    text = HEAD + "quantize weights to 4 bits\n"
    plain, done = lab.run(text), lab.run(text + "encode\n")
    assert done.metric("size") < 0.9 * plain.metric("size") and done.metric("top1") == plain.metric("top1")
    held = load_file(done.folder / "main" / "model.safetensors")
    assert "conv1.weight.codes" in held and "conv1.weight" not in held
    assert lab.run(text + "encode\n").made == 0, "found in the store"


def test_an_encoded_network_is_not_trained(lab: Any, tmp_path: Path) -> None:
    lab.run(ENCODED).folder.joinpath("main").rename(tmp_path / "small")
    head = f'model artifact("{tmp_path / "small"}")\ndata digits\n'
    assert lab.run(head + "measure size\n").code == 0
    for line in ("finetune for 2 steps", "sparsify nm 2:4", "quantize weights to 4 bits", "prune 1 layers by random"):
        for act in (lab.plan, lab.run):
            with pytest.raises(StepFailed, match="encoded by `huffman`") as failed:
                act(head + line + "\n")
            assert [one.code for one in failed.value.diagnostics] == ["RCP1446"]
    two = lab.run(f"{head}variant a {{\n  finetune for 2 steps\n}}\nvariant b {{\n  accelerate\n}}\n")
    assert "encoded by `huffman`" in str(two.variant("a")["error"])


def test_a_weight_of_an_artifact_does_not_share_values_and_have_a_grid(lab: Any, tmp_path: Path) -> None:
    for name, text in {"shared": SHARED, "rounded": HEAD + "quantize weights to 8 bits\n"}.items():
        lab.run(text).folder.joinpath("main").rename(tmp_path / name)
    for name, line in {"shared": "quantize weights to 8 bits", "rounded": "share weights to 4 bits"}.items():
        with pytest.raises(StepFailed, match="several numbers") as failed:
            lab.plan(f'model artifact("{tmp_path / name}")\ndata digits\n{line}\n')
        assert [one.code for one in failed.value.diagnostics] == ["RCP1480"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('share weights to 4 bits in "bn1"\n', "no weight here can share values"),
        ("sparsify nm 2:4\nencode\n", "there is nothing to encode"),
    ],
)
def test_nothing_to_share_and_nothing_to_encode(text: str, why: str, lab: Any) -> None:
    try:
        told = str(lab.run(HEAD + text).variant()["error"])
    except StepFailed as failed:  # before anything ran
        told = str(failed)
    assert why in told
