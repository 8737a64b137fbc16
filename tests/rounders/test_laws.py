"""Each rounder against its formula: brute force, autograd, naive loops, exact means."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pieces import grids_of, round_, rounder
from torch import Tensor, nn
from torch.nn import functional as F

from recipelang.kinds import Scheme
from recipelang.methods.rounders import _learned
from recipelang.methods.rounders.bitsplit import Split
from recipelang.methods.rounders.gptq import GPTQ
from recipelang.scoring.rounding_parts import PartPiece
from recipelang.scoring.rounding_pieces import divided
from recipelang.scoring.rounding_rows import RowsPiece
from recipelang.surgery.network import Network
from recipelang.surgery.restrictions.grid import Grid


class Quiet:
    def start(self, what: str, total: int | None = None) -> None: ...

    def advance(self, parts: int = 1, note: str = "") -> None: ...

    def stop(self) -> None: ...

    def say(self, line: str) -> None: ...


class Matrix:
    """A piece of one weight N×K and rows that enter it, as plain as can be."""

    name, seed, brief, batches = "w", 0, False, 1

    def __init__(self, weight: Tensor, rows: Tensor, bits: int = 3, keep: Tensor | None = None) -> None:
        self.rows, self.weights = rows, {"w": weight}
        scheme = Scheme(bits, signed=True, symmetric=True, axis=0)
        self.grids: dict[str, Any] = {"w": Grid.between(weight.amin(1), weight.amax(1), scheme)}
        self.keep = {} if keep is None else {"w": keep}

    def computed(self, values: dict[str, Tensor], batch: int) -> Tensor:
        return self.rows @ values["w"].mT

    def wanted(self, batch: int) -> Tensor:
        return self.rows @ self.weights["w"].mT

    def sensitivity(self, batch: int) -> Tensor:
        return torch.ones_like(self.wanted(batch))

    def moments(self, name: str) -> Tensor:
        return (2 / len(self.rows) * self.rows.mT @ self.rows)[None]

    def means(self, name: str) -> tuple[Tensor, Tensor]:
        mean = self.rows.double().mean(0, keepdim=True)
        return mean, mean

    def error(self, value: Tensor) -> float:
        return float((self.computed({"w": value}, 0) - self.wanted(0)).square().sum())


def matrix(seed: int, outputs: int = 4, inputs: int = 6, rows: int = 40, **others: Any) -> Matrix:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(inputs, inputs, generator=generator)  # inputs depend on each other
    return Matrix(
        torch.randn(outputs, inputs, generator=generator),
        torch.randn(rows, inputs, generator=generator) @ mixing,
        **others,
    )


# adaround ------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(st.floats(-12, 12), st.floats(2, 20))
def test_the_rectified_sigmoid_and_its_regulariser_are_those_of_the_paper(v: float, beta: float) -> None:
    zeta, gamma = 1.1, -0.1
    h = min(1.0, max(0.0, float(torch.sigmoid(torch.tensor(v).double())) * (zeta - gamma) + gamma))
    variable = torch.tensor([v]).double()
    assert float(_learned.rectified(variable)) == pytest.approx(h, abs=1e-9)
    assert float(_learned.undecided(variable, beta)) == pytest.approx(1 - abs(2 * h - 1) ** beta, abs=1e-6)


@given(st.floats(0, 1))
def test_it_starts_at_the_weight_itself(share: float) -> None:
    variable = _learned.inverse(torch.tensor([share]).double())
    assert float(_learned.rectified(variable)) == pytest.approx(share, abs=1e-6)


def test_the_exponent_falls_from_20_to_2_after_the_warm_up() -> None:
    betas = [_learned.beta_at(done) for done in (0.2, 0.6, 1.0)]
    assert betas == pytest.approx([20, 11, 2])


@pytest.mark.parametrize("seed", range(3))
def test_it_is_near_the_best_of_all_roundings(seed: int) -> None:
    piece = matrix(seed, outputs=1, inputs=8, bits=3)
    grid, weight = piece.grids["w"], piece.weights["w"]
    floor = (weight / grid.scale[:, None]).floor().clamp(-3, 3)
    every = [
        piece.error((floor + torch.tensor([up])).clamp(-3, 3) * grid.scale[:, None])
        for up in itertools.product((0.0, 1.0), repeat=8)
    ]
    value = rounder("adaround", steps=800, lr=0.03).round(piece, Quiet()).values["w"]
    found, nearest = piece.error(value), piece.error(grid.apply(weight))
    assert min(every) <= found + 1e-6
    assert sorted(every).index(min(every, key=lambda one: abs(one - found))) < 12, "among the best of 256"
    assert found <= nearest
    assert ((value / grid.scale[:, None] - floor).round().unique().tolist()) in ([0.0], [1.0], [0.0, 1.0], [-1.0, 0.0])


@pytest.mark.parametrize("name", ["adaround", "gptq", "bitsplit", "adaquant"])
@settings(max_examples=8)
@given(seed=st.integers(0, 1000), bits=st.integers(2, 5))
def test_masks_stay_and_values_are_on_the_grid(name: str, seed: int, bits: int) -> None:
    keep = torch.rand(4, 6, generator=torch.Generator().manual_seed(seed)) > 0.4
    piece = matrix(seed, bits=bits, keep=keep)
    piece.weights["w"] *= keep
    if not piece.weights["w"].any(1).all():
        return
    piece = Matrix(piece.weights["w"], piece.rows, bits, keep)
    made = rounder(name, **({"steps": 300} if name.startswith("ada") else {})).round(piece, Quiet())
    value, grid = made.values["w"], made.grids.get("w", piece.grids["w"])
    assert not value[~keep].any()
    assert torch.equal(grid.apply(value), value)
    if name == "bitsplit":  # the others are no descents
        assert piece.error(value) <= piece.error(piece.grids["w"].apply(piece.weights["w"])) * (1 + 1e-5)


@pytest.mark.parametrize("name", ["gptq", "bitsplit", "adaround", "adaquant"])
def test_the_output_is_nearer_than_with_nearest(name: str) -> None:
    piece = matrix(11, outputs=8, inputs=32, rows=256, bits=3)
    made = rounder(name, **({"steps": 500} if name.startswith("ada") else {})).round(piece, Quiet())
    assert piece.error(made.values["w"]) < 0.8 * piece.error(piece.grids["w"].apply(piece.weights["w"]))


# gptq ----------------------------------------------------------------------------------------


def obq(weight: Tensor, scale: Tensor, most: int, moments: Tensor, damp: float) -> Tensor:
    """Optimal brain quantization of each row in the order of its columns, with a new inverse for every step."""
    hessian = moments.double() + damp * moments.double().diagonal().mean() * torch.eye(len(moments)).double()
    made = torch.zeros_like(weight).double()
    for row, (values, step) in enumerate(zip(weight.double(), scale.double(), strict=True)):
        rest = values.clone()
        for j in range(len(values)):
            inverse = torch.linalg.inv(hessian[j:, j:])
            made[row, j] = (rest[j] / step).round().clamp(-most, most) * step
            rest[j:] -= (rest[j] - made[row, j]) / inverse[0, 0] * inverse[0]
    return made


@pytest.mark.parametrize("block", [1, 4, 128])
@pytest.mark.parametrize("bits", [2, 4])
def test_gptq_is_obq_in_the_same_order(bits: int, block: int) -> None:
    piece = matrix(7, outputs=5, inputs=12, rows=100, bits=bits)
    expected = obq(piece.weights["w"], piece.grids["w"].scale, 2 ** (bits - 1) - 1, piece.moments("w")[0], 0.01)
    value = GPTQ(block=block).round(piece, Quiet()).values["w"]
    torch.testing.assert_close(value.double(), expected, rtol=1e-5, atol=1e-5)


def test_gptq_in_the_order_of_energy_is_obq_of_reordered_columns() -> None:
    piece = matrix(8, outputs=3, inputs=9, rows=80)
    moments = piece.moments("w")[0]
    order = moments.diagonal().argsort(descending=True)
    scale = piece.grids["w"].scale
    expected = obq(piece.weights["w"][:, order], scale, 3, moments[order][:, order], 0.01)
    value = GPTQ(order="energy").round(piece, Quiet()).values["w"]
    torch.testing.assert_close(value[:, order].double(), expected, rtol=1e-5, atol=1e-5)


def test_gptq_without_dependent_inputs_is_nearest() -> None:
    piece = matrix(9)
    piece.rows = torch.eye(6)
    value = GPTQ().round(piece, Quiet()).values["w"]
    torch.testing.assert_close(value, piece.grids["w"].apply(piece.weights["w"]))


# bitsplit ------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_no_turn_of_bitsplit_makes_the_error_larger_and_every_bit_is_the_best_of_three(bits: int) -> None:
    piece = matrix(bits, bits=bits)
    split = Split(piece.weights["w"], piece.grids["w"], None, piece.moments("w"))
    direct = piece.weights["w"] - split.factor[0].float() * piece.grids["w"].scale[:, None] * split.integers[0].float()
    assert split.error() == pytest.approx(
        float((piece.rows @ direct.mT).square().sum() * 2 / len(piece.rows)), rel=1e-4
    )
    errors = [split.error()]
    for _ in range(6):
        split._scale()
        errors.append(split.error())
        for m in reversed(range(bits - 1)):
            split._bit(m)
            errors.append(split.error())
    assert all(after <= before * (1 + 1e-9) for before, after in itertools.pairwise(errors))
    assert set(split.bits.unique().tolist()) <= {-1.0, 0.0, 1.0}
    assert split.integers.abs().max() <= 2 ** (bits - 1) - 1
    last = split.bits.shape[-1] - 1
    best = split.error()
    for other in (-1.0, 0.0, 1.0):  # the number that was decided last
        kept = split.bits.clone()
        split.bits[0, 0, 0, last] = other
        assert split.error() >= best - 1e-9
        split.bits = kept


def test_alpha_is_least_squares() -> None:
    piece = matrix(4)
    split = Split(piece.weights["w"], piece.grids["w"], None, piece.moments("w"))
    split._scale()
    made = (piece.grids["w"].apply(piece.weights["w"])).double()
    for row in range(4):
        outputs, wanted = piece.rows.double() @ made[row], piece.rows.double() @ piece.weights["w"][row].double()
        alpha = torch.linalg.lstsq(outputs[:, None], wanted[:, None]).solution
        assert float(split.factor[0, row]) == pytest.approx(float(alpha), rel=1e-5)


# bias_correction -----------------------------------------------------------------------------


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


# brecq ---------------------------------------------------------------------------------------


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
