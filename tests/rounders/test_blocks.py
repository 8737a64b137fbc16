"""How a network is divided for rounders, and BRECQ on its blocks, against autograd and naive formulas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pieces import grids_of, round_, rounder
from torch.nn import functional as F

from recipelang.kinds import Quiet
from recipelang.methods.rounders import _learned
from recipelang.scoring.rounding_parts import PartPiece
from recipelang.scoring.rounding_pieces import divided
from recipelang.scoring.rounding_rows import RowsPiece
from recipelang.surgery.network import Network


def test_blocks_are_those_that_everything_passes(chain: Network) -> None:
    names = list(grids_of(chain, 4))
    assert [(d.path, len(d.names)) for d in divided(chain, names, "block")] == [
        ("stem.0", 1),
        ("blocks.0", 2),
        ("blocks.1", 2),
        ("depthwise", 1),
        ("head", 1),
    ]
    assert [d.names for d in divided(chain, names, "layer")] == [(name,) for name in names]
    assert divided(chain, names, "network")[0].names == tuple(names)


def test_every_network_is_divided_without_remainder(network: Network) -> None:
    names = set(grids_of(network, 4))
    for unit in ("layer", "block", "network"):
        found = [name for division in divided(network, names, unit) for name in division.names]
        assert sorted(found) == sorted(names)


def pieces_seen(network: Network, method: Any, images: Any, folder: Path) -> dict[str, Any]:
    """The pieces that a rounder was given."""
    seen = {}
    inner = type(method).round

    class Watching:
        name, unit, looks_at_data, uniform = "watching", method.unit, True, True

        def round(self, piece: Any, progress: Any) -> Any:
            seen[piece.name] = piece
            piece.wanted(0), piece.sensitivity(0)
            return inner(method, piece, progress)

    round_(network, Watching(), grids_of(network, 4), images, folder)
    return seen


def test_sensitivities_are_squared_gradients_by_autograd(chain: Network, images: Any, tmp_path: Path) -> None:
    seen = pieces_seen(chain, rounder("brecq", steps=1), images, tmp_path)
    piece = seen["blocks.1"]
    assert isinstance(piece, PartPiece) and piece.batches == 2
    module, squares = chain.module, []
    for batch in range(2):
        x, y = images.images[32 * batch : 32 * batch + 32][: 48 - 32 * batch], images.targets
        y = y[32 * batch : 32 * batch + len(x)]
        with torch.no_grad():
            wanted = module.blocks(module.stem(x))
        torch.testing.assert_close(piece.wanted(batch), wanted)
        each = []
        for image, label in zip(wanted, y, strict=True):  # one image at a time
            z = image[None].clone().requires_grad_()
            scores = module.head(module.depthwise(z).relu().mean((2, 3)))
            each.append(torch.autograd.grad(F.cross_entropy(scores, label[None]), z)[0].square())
        squares.append(torch.cat(each))
    mean = torch.cat(squares).mean()
    for batch in range(2):
        torch.testing.assert_close(piece.sensitivity(batch), squares[batch] / mean, rtol=1e-3, atol=1e-4)


def test_a_block_computes_with_other_values_as_the_network_does(chain: Network, images: Any, tmp_path: Path) -> None:
    piece = pieces_seen(chain, rounder("brecq", steps=1), images, tmp_path)["blocks.0"]
    torch.testing.assert_close(piece.computed(piece.weights, 0)[:1].shape, piece.wanted(0)[:1].shape)
    doubled = {name: 2 * value for name, value in piece.weights.items()}
    assert not torch.allclose(piece.computed(doubled, 0), piece.computed(piece.weights, 0))
    values = {name: value.clone().requires_grad_() for name, value in piece.weights.items()}
    piece.computed(values, 0).sum().backward()
    assert all(bool(value.grad.any()) for value in values.values())


def test_the_loss_of_a_block_is_the_weighted_square(chain: Network, images: Any, tmp_path: Path) -> None:
    piece = pieces_seen(chain, rounder("brecq", steps=1), images, tmp_path)["blocks.1"]
    grids: Any = piece.grids
    values = {name: grids[name].apply(weight) for name, weight in piece.weights.items()}
    expected = ((piece.computed(values, 0) - piece.wanted(0)) ** 2 * piece.sensitivity(0)).sum(1).mean() / 3.0
    assert float(_learned.error(piece, values, 0, True, 3.0)) == pytest.approx(float(expected), rel=1e-5)


def test_rows_are_what_enters_a_weight_and_what_follows_it(chain: Network, images: Any, tmp_path: Path) -> None:
    seen = pieces_seen(chain, rounder("adaround", steps=1), images, tmp_path)
    piece = seen["blocks.0.conv1.weight"]
    assert isinstance(piece, RowsPiece)
    wanted = torch.cat([piece.wanted(n) for n in range(piece.batches)])
    with torch.no_grad():
        block = chain.module.blocks[0]
        outputs = block.bn1(block.conv1(chain.module.stem(images.images[:48]))).relu()  # norm and ReLU included
    everything = outputs.movedim(1, -1).flatten(0, -2)
    assert len(wanted) == len(everything), "all 48·64 rows are kept"
    torch.testing.assert_close(wanted.sum(0), everything.sum(0), rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(wanted.sort(0).values, everything.sort(0).values, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("per", ["layer", "block", "network"])
def test_a_learned_block_is_nearer_to_the_loss_than_nearest(
    per: str, chain: Network, images: Any, tmp_path: Path
) -> None:
    method = rounder("brecq", steps=200, per=per)
    piece = list(pieces_seen(chain, method, images, tmp_path).values())[-1]
    grids: Any = piece.grids
    plain = {name: grids[name].apply(weight) for name, weight in piece.weights.items()}
    made = method.round(piece, Quiet()).values

    def error(values: Any) -> float:
        return sum(float(_learned.error(piece, values, n, True, 1.0)) for n in range(piece.batches))

    assert error(made) < error(plain)
