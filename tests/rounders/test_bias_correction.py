"""Bias correction against exact means of every output."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pieces import grids_of, round_, rounder
from torch import Tensor, nn

from recipelang.surgery.network import Network


class Means(nn.Module):
    """A layer with a bias, one with a BatchNorm, one with neither."""

    def __init__(self) -> None:
        super().__init__()
        self.biased, self.normed = nn.Conv2d(4, 6, 3, padding=1), nn.Conv2d(6, 6, 3, bias=False, groups=2)
        self.norm, self.head = nn.BatchNorm2d(6), nn.Linear(6, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.normed(self.biased(x).relu())).relu().mean((2, 3)))


def test_the_mean_of_every_output_is_what_it_was(images: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Network(Means().eval(), {"model": "test"}, (4, 8, 8), classes=("a", "b", "c"))
    made = round_(network, rounder("bias_correction"), grids_of(network, 3), images, tmp_path)
    seen: dict[str, list[Tensor]] = {}
    for module in (network.module, made.network.module):
        for path, part in module.named_modules():
            if path in ("biased", "norm"):
                part.register_forward_hook(
                    lambda _, args, output, path=path: seen.setdefault(path, []).append(output.double().mean((0, 2, 3)))
                )
        with torch.no_grad():
            module(images.images[:48])
    for path, (before, after) in seen.items():
        torch.testing.assert_close(after, before, rtol=1e-4, atol=1e-5, msg=path)
    assert "`bias_correction` has no effect on 1 weight, for example `head.weight`" in made.note
    assert "no bias, and no BatchNorm follows" in made.note


def test_it_corrects_what_another_rounder_made(chain: Network, images: Any, tmp_path: Path) -> None:
    from recipelang.errors import SettingError

    grids = grids_of(chain, 3)
    made = round_(chain, rounder("bias_correction", rounding=rounder("gptq")), grids, images, tmp_path / "a")
    first = "stem.0.weight"
    alone = round_(chain, rounder("gptq"), {first: grids[first]}, images, tmp_path / "b")
    assert torch.equal(made.network.module.get_parameter(first), alone.network.module.get_parameter(first))
    with pytest.raises(SettingError, match="several weights"):
        rounder("bias_correction", rounding=rounder("brecq"))
