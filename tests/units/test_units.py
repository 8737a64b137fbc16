"""Every unit of the catalogue keeps the contract, with every criterion that it says it can aggregate."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from recipelang import catalogue
from recipelang.check import check
from recipelang.errors import RecipeError, Refusal
from recipelang.kinds import Labels, Offer, Preprocessing, why_unfit
from recipelang.methods.tasks.classification import Classification
from recipelang.methods.units._channels import rounding, step_of
from recipelang.plan import Selection, Selector
from recipelang.scoring.evidence import Gathered
from recipelang.scoring.ranking import rank
from recipelang.surgery.edits import apply_edits
from recipelang.surgery.network import Network
from recipelang.syntax.parse import parse

UNITS = catalogue.names("unit")
CRITERIA = catalogue.names("criterion")


class Attention(nn.Module):
    """4 heads of 2 channels over positions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads, self.qkv, self.proj = 4, nn.Linear(width, 24), nn.Linear(8, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).reshape(*x.shape[:2], 3, self.heads, 2).permute(2, 0, 3, 1, 4)
        return self.proj(nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Convolutions with BatchNorm, then an MLP, then attention, each beside a skip connection."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv, self.norm, self.back = (
            nn.Conv2d(width, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.Conv2d(16, width, 1),
        )
        self.up, self.down = nn.Linear(width, 24), nn.Linear(24, width)
        self.attention = Attention(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.back(self.norm(self.conv(x)).relu())
        x = x + self.down(self.up(x.movedim(1, -1)).relu()).movedim(-1, 1)
        return x + self.attention(x.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(x.shape)


class Net(nn.Module):
    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width)
        self.blocks = nn.Sequential(Block(width), Block(width))
        self.head = nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.norm(self.stem(x)).relu()).mean((2, 3)))


class Images:
    name, fingerprint, preprocessing, batch = "memory", "", Preprocessing((8, 8), (0.0,), (1.0,)), 16
    labels = Labels(("0", "1", "2", "3"))
    input_shape = (1, 8, 8)

    def size(self, split: str) -> int:
        return 16

    def batches(self, split: str, **more: Any) -> Any:
        generator = torch.Generator().manual_seed(len(split))
        yield torch.randn(16, 1, 8, 8, generator=generator), torch.arange(16) % 4


@pytest.fixture(scope="module")
def net() -> Network:
    torch.manual_seed(0)
    return Network(Net().eval(), {}, (1, 8, 8))


@pytest.fixture(scope="module")
def offers(net: Network) -> dict[str, Offer]:
    return {name: catalogue.find("unit", name)().find(net, Selection()) for name in UNITS}  # type: ignore[misc]


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_says_what_it_is(name: str) -> None:
    unit: Any = catalogue.find("unit", name)
    assert name == f"{unit.one}s" and unit.ranks in ("layer", "filter")
    assert set(unit.scores) <= {"element", "filter", "layer", "part", "any"}
    for heading in ("Scores:", "Effect:", "Source:"):
        assert heading in catalogue.card(unit)


@pytest.mark.parametrize("name", UNITS)
def test_an_offer_is_of_groups_that_can_lose_something(offers: dict[str, Offer], name: str) -> None:
    offer = offers[name]
    assert offer.groups and len({group.name for group in offer.groups}) == len(offer.groups)
    for group in offer.groups:
        assert 1 <= group.first <= group.most <= group.size - group.least
        assert group.layers and all(isinstance(path, str) for path in group.layers)
    assert not set(offer.stay) & {group.name for group in offer.groups}


FITTING = [
    (u, c)
    for u in UNITS
    for c in CRITERIA
    if not why_unfit(catalogue.find("criterion", c), u, catalogue.find("unit", u).scores)  # type: ignore[arg-type,union-attr]
]


@pytest.mark.parametrize(("unit_name", "criterion_name"), FITTING)
def test_every_criterion_that_fits_ranks_every_part_or_says_which_it_cannot(
    net: Network, offers: dict[str, Offer], unit_name: str, criterion_name: str
) -> None:
    unit: Any = catalogue.find("unit", unit_name)()  # type: ignore[misc]
    criterion: Any = catalogue.find("criterion", criterion_name)()  # type: ignore[misc]
    offer = offers[unit_name]
    evidence = Gathered(
        net, Images(), Classification(), offer.groups, unit.ranks, criterion.needs,  # type: ignore[arg-type]
        edits=partial(unit.edits, net, offer),
    )  # fmt: skip
    if unit_name in ("neurons", "heads") and "batchnorm" in criterion.needs:
        with pytest.raises(Refusal, match=f"no {unit.one} of this network has a BatchNorm"):
            rank(criterion, unit, evidence, offer.groups)
        return
    ranking = rank(criterion, unit, evidence, offer.groups)
    ranked = {group.name for group in offer.groups} - set(ranking.unscored)
    assert {step.group for step in ranking.steps} == ranked
    for group in offer.groups:
        parts = [part for step in ranking.steps if step.group == group.name for part in step.parts]
        assert len(set(parts)) == len(parts) == (group.most if group.name in ranked else 0)


@pytest.mark.parametrize("name", UNITS)
def test_edits_and_removal_make_the_same_network(net: Network, offers: dict[str, Offer], name: str) -> None:
    unit: Any = catalogue.find("unit", name)()  # type: ignore[misc]
    offer = offers[name]
    group = offer.groups[-1]
    gone = {group.name: list(range(group.first))}
    measured = apply_edits(net, unit.edits(net, offer, gone), check=False)
    removed, stays = unit.remove(net, offer, gone)
    assert not stays and removed.edits == measured.edits and len(removed.edits) == 1
    images = torch.randn(3, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(removed.module(images), measured.module(images))
    assert sum(p.numel() for p in removed.module.parameters()) < sum(p.numel() for p in net.module.parameters())
    unchanged, stays = unit.remove(net, offer, {})
    assert not stays and unchanged.edits == net.edits and not unit.edits(net, offer, {})


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("criterion", CRITERIA)
def test_check_refuses_every_criterion_that_does_not_fit_and_no_other(unit: str, criterion: str) -> None:
    try:
        codes = {d.code for d in check(parse(f"prune {unit} by {criterion} until flops < 0.5\n")).warnings}
    except RecipeError as error:
        codes = {d.code for d in error.diagnostics}
    assert ("RCP0413" in codes) == ((unit, criterion) not in FITTING)


@pytest.mark.parametrize("name", UNITS)
def test_a_selection_that_leaves_nothing_is_refused(net: Network, name: str) -> None:
    unit: Any = catalogue.find("unit", name)()  # type: ignore[misc]
    with pytest.raises(Refusal) as refusal:
        unit.find(net, Selection(include=(Selector("glob", "head"),)))
    assert refusal.value.code == "RCP0910"


def test_filters_are_of_convolutions_and_neurons_of_linear_layers(offers: dict[str, Offer]) -> None:
    assert [group.name for group in offers["filters"].groups] == ["stem", "blocks.0.conv", "blocks.1.conv"]
    assert offers["filters"].groups[0].layers == (
        "stem",
        *(f"blocks.{k}.{part}" for k in "01" for part in ("back", "down", "attention.proj")),
    )
    assert [group.name for group in offers["neurons"].groups] == ["blocks.0.up", "blocks.1.up"]


def test_heads_say_nothing_of_channels_outside_attention(offers: dict[str, Offer]) -> None:
    assert offers["filters"].stay and not offers["heads"].stay


def test_heads_of_any_number_leave_and_the_rest_keep_their_width(net: Network, offers: dict[str, Offer]) -> None:
    unit: Any = catalogue.find("unit", "heads")()  # type: ignore[misc]
    offer = offers["heads"]
    assert [(g.name, g.size, g.step, g.most) for g in offer.groups] == [
        (f"blocks.{k}.attention.qkv", 4, 1, 3) for k in "01"
    ]
    smaller = unit.remove(net, offer, {"blocks.1.attention.qkv": [0, 1, 3]})[0].module.blocks[1].attention
    assert smaller.heads == 1 and smaller.qkv.weight.shape == (6, 8) and smaller.proj.weight.shape == (8, 2)
    assert torch.equal(smaller.proj.weight, net.module.blocks[1].attention.proj.weight[:, 4:6])


def test_a_head_scores_the_rows_that_make_it_and_the_columns_that_read_it(
    net: Network, offers: dict[str, Offer]
) -> None:
    unit: Any = catalogue.find("unit", "heads")()  # type: ignore[misc]
    group = offers["heads"].groups[0]
    weights = {name: weight.detach().square() for name, weight in net.module.named_parameters() if weight.ndim > 1}
    squares = SimpleNamespace(unit="element", norm=2)
    (scores,) = unit.aggregate(squares, weights, None, [group]).values()
    part = net.module.blocks[0].attention
    for head in range(4):
        made = part.qkv.weight.reshape(3, 4, 2, 8)[:, head].square().sum()
        read = part.proj.weight.reshape(8, 4, 2)[:, head].square().sum()
        torch.testing.assert_close(scores[head], (made + read).sqrt())


def test_a_coupled_layer_that_is_excluded_keeps_its_group(net: Network) -> None:
    unit: Any = catalogue.find("unit", "filters")()  # type: ignore[misc]
    offer = unit.find(net, Selection(exclude=(Selector("glob", "blocks.1.back"),)))
    assert [group.name for group in offer.groups] == ["blocks.0.conv", "blocks.1.conv"]
    assert offer.stay["stem"] == "the selection excludes `blocks.1.back`, which makes the same channels"


@given(st.integers(1, 5000))
def test_default_widths(width: int) -> None:
    """The largest power of two that is at most 16 and at most an eighth of the width."""
    naive = max([1, *(r for r in (1, 2, 4, 8, 16) if r <= width / 8)])
    assert rounding(width) == naive == step_of(width, 1, None)


@given(st.integers(1, 300), st.integers(1, 64), st.integers(1, 40))
def test_widths_asked_for_are_multiples_in_channels(size: int, wide: int, round: int) -> None:
    """A part of several channels: the least number of parts whose channels are a multiple of `round`."""
    step = step_of(size, wide, round)
    assert step == next(k for k in range(1, round + 1) if k * wide % round == 0)
    assert 1 <= step_of(size, wide, None) <= max(1, size // 8)


def test_a_group_is_named_by_its_first_layer_and_never_emptied() -> None:
    coupled = SimpleNamespace(name="a", size=16, makers=("a", "b"), at=lambda role: ())
    from recipelang.methods.units._channels import _group

    group = _group(coupled, None)
    assert (group.step, group.first, group.most) == (2, 2, 14)
    assert _group(coupled, 16).most == 0
