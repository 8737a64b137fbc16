"""Artifacts with 2:4 weights in their packed form."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from recipelang.errors import Refusal
from recipelang.methods.exports.safetensors import Safetensors
from recipelang.methods.patterns.nm import NM
from recipelang.surgery import artifact
from recipelang.surgery.masks import eligible, sparsify
from recipelang.surgery.network import Network
from recipelang.surgery.packing import packed_names


@pytest.fixture
def sparse(digits: Network) -> Network:
    names, _ = eligible(digits, NM())
    weights = dict(digits.module.named_parameters())
    return sparsify(digits, NM(), {name: weights[name].detach().abs() for name in names})


def size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def test_a_packed_artifact_gives_the_same_network_from_smaller_files(sparse: Network, tmp_path: Path) -> None:
    artifact.save(sparse, tmp_path / "plain")
    Safetensors(packed=True).write(sparse, tmp_path / "packed")
    again = artifact.load(tmp_path / "packed")
    for name, tensor in sparse.module.state_dict().items():
        assert torch.equal(again.module.state_dict()[name], tensor), name
    for name, mask in sparse.masks.items():
        assert again.masks[name].pattern == mask.pattern and torch.equal(again.masks[name].keep, mask.keep)
    assert len(packed_names(sparse)) >= 10
    assert size(tmp_path / "packed") < 0.55 * size(tmp_path / "plain")


def test_a_packed_file_holds_no_dense_weight(sparse: Network, tmp_path: Path) -> None:
    artifact.save(sparse, tmp_path, packed=True)
    stored = load_file(tmp_path / "model.safetensors")
    for name, shape in packed_names(sparse).items():
        values, meta = stored[f"{name}.values"], stored[f"{name}.meta"]
        assert values.numel() == torch.Size(shape).numel() // 2
        assert meta.dtype == torch.int32 and name not in stored


def test_a_mask_that_keeps_zeros_comes_back_as_it_was(sparse: Network, tmp_path: Path) -> None:
    one = next(iter(packed_names(sparse)))
    with torch.no_grad():
        sparse.module.get_parameter(one).zero_()
    artifact.save(sparse, tmp_path, packed=True)
    assert torch.equal(artifact.load(tmp_path).masks[one].keep, sparse.masks[one].keep)


def test_a_network_without_2_4_has_nothing_to_pack(digits: Network, tmp_path: Path) -> None:
    with pytest.raises(Refusal) as refused:
        Safetensors(packed=True).write(digits, tmp_path)
    assert refused.value.code == "RCP1301"


def test_other_patterns_stay_as_they_are(digits: Network, tmp_path: Path) -> None:
    names, _ = eligible(digits, NM(3, 4))
    weights = dict(digits.module.named_parameters())
    mixed = sparsify(digits, NM(3, 4), {name: weights[name].detach().abs() for name in names})
    linear = {"linear.weight": weights["linear.weight"].detach().abs()}
    mixed = sparsify(mixed, NM(), linear)
    assert list(packed_names(mixed)) == ["linear.weight"]
    artifact.save(mixed, tmp_path, packed=True)
    again = artifact.load(tmp_path)
    assert {name: mask.pattern for name, mask in again.masks.items()} == {n: m.pattern for n, m in mixed.masks.items()}


def damage_shape(model: dict[str, Any], tensors: dict[str, torch.Tensor], name: str) -> None:
    model["packed"][name] = [1, 2]


def damage_shape_type(model: dict[str, Any], tensors: dict[str, torch.Tensor], name: str) -> None:
    model["packed"][name] = "wide"


def damage_missing(model: dict[str, Any], tensors: dict[str, torch.Tensor], name: str) -> None:
    del tensors[f"{name}.meta"]


def damage_meta(model: dict[str, Any], tensors: dict[str, torch.Tensor], name: str) -> None:
    tensors[f"{name}.meta"] = torch.full_like(tensors[f"{name}.meta"], -1)


def damage_values(model: dict[str, Any], tensors: dict[str, torch.Tensor], name: str) -> None:
    tensors[f"{name}.values"] = tensors[f"{name}.values"][:, :-2].contiguous()


@pytest.mark.parametrize("damage", [damage_shape, damage_shape_type, damage_missing, damage_meta, damage_values])
def test_a_damaged_packed_artifact_is_refused(sparse: Network, tmp_path: Path, damage: Any) -> None:
    artifact.save(sparse, tmp_path, packed=True)
    model = json.loads((tmp_path / "model.json").read_text())
    tensors = load_file(tmp_path / "model.safetensors")
    damage(model, tensors, next(iter(packed_names(sparse))))
    (tmp_path / "model.json").write_text(json.dumps(model))
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(Refusal) as refused:
        artifact.load(tmp_path)
    assert refused.value.code in {"RCP0714", "RCP1301", "RCP1302"}


@pytest.mark.parametrize(
    "written",
    [[], [16], [16, 16, 3], [16, 16, 3, 3, 1], [0, 4], [-16, 16, 3, 3], [True] * 4, [float("inf"), 4], [10**30] * 2]
    + [[16.0, 16], [16, None], None, 5, {"16": 16}],
)
def test_a_hostile_shape_of_a_packed_weight_is_refused(sparse: Network, tmp_path: Path, written: Any) -> None:
    artifact.save(sparse, tmp_path, packed=True)
    model = json.loads((tmp_path / "model.json").read_text())
    model["packed"][next(iter(packed_names(sparse)))] = written
    (tmp_path / "model.json").write_text(json.dumps(model))
    with pytest.raises(Refusal) as refused:
        artifact.load(tmp_path)
    assert refused.value.code in {"RCP0714", "RCP1301"}


def test_masks_of_another_length_are_refused(sparse: Network, tmp_path: Path) -> None:
    artifact.save(sparse, tmp_path, packed=True)
    masks = load_file(tmp_path / "restrictions.safetensors")
    name = f"{next(iter(packed_names(sparse)))}@mask.keep"
    save_file(masks | {name: masks[name][:-1].contiguous()}, tmp_path / "restrictions.safetensors")
    with pytest.raises(Refusal) as refused:
        artifact.load(tmp_path)
    assert refused.value.code == "RCP1302"


def test_what_is_read_from_a_packed_artifact_goes_on_as_before(sparse: Network, tmp_path: Path) -> None:
    artifact.save(sparse, tmp_path / "one", packed=True)
    artifact.save(artifact.load(tmp_path / "one"), tmp_path / "two")
    artifact.save(replace(sparse), tmp_path / "three")
    for file in ("model.safetensors", "restrictions.safetensors"):
        assert (tmp_path / "two" / file).read_bytes() == (tmp_path / "three" / file).read_bytes()
