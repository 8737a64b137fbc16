"""What every rounder of the catalogue promises, on networks that nobody prepared for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pieces import answers, grids_of, masks_of, round_, rounder

from recipelang import catalogue
from recipelang.surgery.network import Network

NAMES = catalogue.names("rounder")


@pytest.mark.parametrize("bits", [2])
@pytest.mark.parametrize("name", NAMES)
def test_weights_lie_on_their_grids(name: str, bits: int, network: Network, images: Any, tmp_path: Path) -> None:
    grids = grids_of(network, bits)
    made = round_(network, rounder(name), grids, images, tmp_path)
    assert set(made.grids) == set(grids)
    grid: Any
    for place, grid in made.grids.items():
        value = made.network.module.get_parameter(place).detach()
        assert torch.equal(grid.apply(value), value), "nearest rounding gives the same numbers"
        assert torch.equal(grid.values(grid.codes(value)), value)
        assert not grid.apply(torch.zeros_like(value)).any()
    whole = answers(made.network.restricted(made.grids), images)
    assert torch.allclose(answers(made.network, images), whole, atol=1e-5), "the restrictions change nothing"
    assert torch.isfinite(whole).all()


@pytest.mark.parametrize("form", ["symmetric", "affine"])
@pytest.mark.parametrize("name", NAMES)
def test_zeros_of_masks_stay(name: str, form: str, network: Network, images: Any, tmp_path: Path) -> None:

    grids = grids_of(network, 3, form if form == "affine" else "")
    sparse = masks_of(network, grids)
    made = round_(sparse, rounder(name), grids, images, tmp_path)
    for place, mask in sparse.masks.items():
        value = made.network.module.get_parameter(place)
        assert not value[~mask.keep].any() and mask.holds(value)
        assert value.any()


@pytest.mark.parametrize("name", NAMES)
def test_the_network_itself_is_not_changed_and_the_same_is_made_again(
    name: str, chain: Network, images: Any, tmp_path: Path
) -> None:
    before = {key: value.clone() for key, value in chain.module.state_dict().items()}
    grids = grids_of(chain, 4)
    one, two = (round_(chain, rounder(name), grids, images, tmp_path / folder) for folder in "ab")
    assert all(torch.equal(value, before[key]) for key, value in chain.module.state_dict().items())
    for key, value in one.network.module.state_dict().items():
        assert torch.equal(value, two.network.module.state_dict()[key]), key


class Killed(BaseException):
    """As if the process had been killed."""


class Dying:
    """A progress that kills the run at the start of a piece of work."""

    def __init__(self, after: int) -> None:
        self.started: list[str] = []
        self._left = after

    def start(self, what: str, total: int | None = None) -> None:
        self.started.append(what)
        self._left -= 1
        if not self._left:
            raise Killed

    def advance(self, parts: int = 1, note: str = "") -> None: ...

    def stop(self) -> None: ...

    def say(self, line: str) -> None: ...


@pytest.mark.parametrize("name", [name for name in NAMES if catalogue.find("rounder", name).looks_at_data])  # type: ignore[union-attr]
def test_a_run_that_is_killed_ends_the_same_and_repeats_one_piece(
    name: str, chain: Network, images: Any, tmp_path: Path
) -> None:
    grids = grids_of(chain, 4)
    whole = round_(chain, rounder(name), grids, images, tmp_path / "whole", plain := Dying(0))
    pieces = int(plain.started[-1].split()[3].rstrip(","))
    dying = Dying(after=len(plain.started) // 2 + 1)
    with pytest.raises(Killed):
        round_(chain, rounder(name), grids, images, tmp_path / "killed", dying)
    done = len(list((tmp_path / "killed" / "rounded").glob("*.safetensors")))
    assert done > 0
    again = round_(chain, rounder(name), grids, images, tmp_path / "killed", rest := Dying(0))
    assert {int(what.split()[1]) for what in rest.started} == set(range(done + 1, pieces + 1)), (
        "finished pieces are read"
    )
    for key, value in again.network.module.state_dict().items():
        assert torch.equal(value, whole.network.module.state_dict()[key]), key
    for place, grid in again.grids.items():
        assert torch.equal(grid.scale, whole.grids[place].scale)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_file_is_made_again(name: str, chain: Network, images: Any, tmp_path: Path) -> None:
    grids = {"head.weight": grids_of(chain, 4)["head.weight"]}
    right = round_(chain, rounder(name), grids, images, tmp_path)
    (file,) = (tmp_path / "rounded").glob("*.safetensors")
    damaged = bytearray(file.read_bytes())
    damaged[-3] ^= 255
    file.write_bytes(bytes(damaged))
    again = round_(chain, rounder(name), grids, images, tmp_path)
    name = "head.weight"
    assert torch.equal(again.network.module.get_parameter(name), right.network.module.get_parameter(name))
