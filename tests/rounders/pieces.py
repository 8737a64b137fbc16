"""What the tests of rounders share: methods that are quick, grids of a network, and rounding it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from contexts import context
from torch import Tensor

from recipelang import catalogue
from recipelang.methods.quantizers.minmax import MinMax
from recipelang.plan import Samples, Selection
from recipelang.stages._rounded import Rounding, rounded
from recipelang.surgery.network import Network
from recipelang.surgery.quantizing import places_of, weight_grids
from recipelang.surgery.restrictions.grid import Grid
from recipelang.surgery.restrictions.mask import Mask
from recipelang.surgery.simulated import running


def rounder(name: str, **settings: Any) -> Any:
    """A method with few steps, if it has any."""
    found: Any = catalogue.find("rounder", name)
    if "steps" in found.__dataclass_fields__:
        settings = {"steps": 6, **settings}
    return found(**settings)


def grids_of(network: Network, bits: int, form: str = "", per: str = "channel") -> dict[str, Grid]:
    """A grid for every weight that can have one."""
    quantizer = MinMax(per=per, form=form) if form else MinMax(per=per)
    names = places_of(network, Selection(), ("weights",)).weights
    return weight_grids(network, names, bits, quantizer)  # type: ignore[return-value]


def round_(
    network: Network, method: Any, grids: Any, images: Any, folder: Path, progress: Any = None, seed: int = 0
) -> Rounding:
    """The stage's function, on all images."""
    samples = Samples("train", 48) if method.looks_at_data else None
    return rounded(method, context(network, images, folder, progress, seed=seed), grids, samples)


def answers(network: Network, images: Any, module: Any = None) -> Tensor:
    """What the network answers to all images, with its restrictions."""
    with torch.no_grad():
        return running(network if module is None else replace(network, module=module)).eval()(images.images)


def masks_of(network: Network, names: Any) -> Network:
    """Half of every weight at zero: 2:4 along the inputs where they are a multiple of four, else at random."""
    generator, masks = torch.Generator().manual_seed(5), {}
    for name in names:
        weight = network.module.get_parameter(name)
        if weight.shape[1] % 4 == 0:
            scores = torch.rand(weight.movedim(1, -1).shape, generator=generator).unflatten(-1, (-1, 4))
            keep = (scores.argsort(-1).argsort(-1) >= 2).flatten(-2).movedim(-1, 1)
        else:
            keep = torch.rand(weight.shape, generator=generator) > 0.5
        masks[name] = Mask("2:4" if weight.shape[1] % 4 == 0 else "weights", keep.contiguous())
    from recipelang.surgery.restricting import restrict

    return restrict(network, masks)
