"""A folder whose restrictions or edits somebody has changed is refused when it is read, not when it computes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from recipelang.errors import Refusal
from recipelang.kinds import Scheme
from recipelang.surgery import artifact
from recipelang.surgery.edits import from_json
from recipelang.surgery.network import Network
from recipelang.surgery.restricting import restrict
from recipelang.surgery.restrictions.grid import Grid
from recipelang.surgery.restrictions.mask import Mask

PLACE, WEIGHT = "layer1.0.conv1:conv2d", "layer1.0.conv1.weight"
Surgery = dict[str, Any]


@pytest.fixture
def folder(digits: Network, tmp_path: Path) -> Path:
    grid = Grid(torch.tensor(0.1), torch.tensor(0, dtype=torch.int32), Scheme(8, True, True, None))
    keep = torch.ones_like(digits.module.get_parameter(WEIGHT), dtype=torch.bool)
    artifact.save(restrict(digits, {PLACE: grid}).restricted({WEIGHT: Mask("some", keep)}), tmp_path / "net")
    return tmp_path / "net"


def changed(folder: Path, change: Callable[[Surgery], object], tensors: Mapping[str, torch.Tensor]) -> None:
    file, restrictions = folder / "surgery.json", folder / "restrictions.safetensors"
    surgery = json.loads(file.read_text())
    change(surgery["restrictions"])
    file.write_text(json.dumps(surgery))
    save_file(load_file(restrictions) | tensors, restrictions)


def scales(count: int) -> dict[str, torch.Tensor]:
    return {f"{PLACE}@grid.scale": torch.ones(count), f"{PLACE}@grid.zero": torch.zeros(count, dtype=torch.int32)}


@pytest.mark.parametrize(("axis", "count"), [(1, 9), (0, 2), (7, 4), (1, 0)])
def test_a_grid_that_does_not_fit_the_activation_of_its_place(folder: Path, axis: int, count: int) -> None:
    changed(folder, lambda told: told[PLACE][0].update(axis=axis), scales(count))
    with pytest.raises(Refusal, match=f"{count} scales along axis {axis}") as refused:
        artifact.load(folder)
    assert refused.value.code == "RCP1404"


def test_a_mask_at_an_activation(folder: Path) -> None:
    keep = torch.ones(2, dtype=torch.bool)
    changed(folder, lambda told: told[PLACE].append({"kind": "mask", "pattern": "some"}), {f"{PLACE}@mask.keep": keep})
    with pytest.raises(Refusal, match=f"the mask of `{PLACE}` has no parameter") as refused:
        artifact.load(folder)
    assert refused.value.code == "RCP0705"


def test_two_restrictions_that_compute_at_one_place(folder: Path) -> None:
    book = {"kind": "codebook", "axis": None, "trained": ""}
    changed(folder, lambda told: told[PLACE].append(book), {f"{PLACE}@codebook.levels": torch.arange(3.0)})
    with pytest.raises(Refusal, match="two restrictions compute in place of") as refused:
        artifact.load(folder)
    assert refused.value.code == "RCP0714"


@pytest.mark.parametrize("pattern", ["4:2", "2:0", "0:4", "2:2", "1:9999999999", "2\n4"])
def test_a_pattern_that_is_none(folder: Path, pattern: str) -> None:
    changed(folder, lambda told: told[WEIGHT][0].update(pattern=pattern), {})
    with pytest.raises(Refusal, match="a mask has the pattern") as refused:
        artifact.load(folder)
    assert refused.value.code == "RCP0714" and "\n" not in refused.value.message


def test_cuts_that_would_take_all_memory() -> None:
    cut = {"gone": [[0, 2**24 - 1]], "of": 2**24, "at": [["conv1.weight", 0]]}
    with pytest.raises(Refusal, match="remove more than") as refused:
        from_json({"edit": "remove_channels", "cut": [cut] * 1000, "set": {}})
    assert refused.value.code == "RCP0714"
