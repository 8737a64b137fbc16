"""Parts that a training has decided about leave with parity, on networks of every kind; or stay, with the reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recipelang import catalogue
from recipelang.errors import Refusal
from recipelang.kinds import PARTS, Decided, Finished, Moment
from recipelang.methods.units.filters import Filters
from recipelang.methods.units.layers import Layers
from recipelang.nets.digits_resnet import digits_resnet
from recipelang.plan import Selection
from recipelang.stages._leaving import removed
from recipelang.surgery.network import Network
from recipelang.surgery.restrictions.mask import Mask
from recipelang.surgery.tracing import evaluating, example_input

GATED = ("joint", "l0")
START = Moment(0, 10, 5)


class Depthwise(nn.Module):
    """An inverted residual with squeeze-excite between two convolutions, as in MobileNetV3 and EfficientNet."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.Hardswish())
        self.expand = nn.Sequential(nn.Conv2d(8, 16, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.deep = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.squeeze, self.excite = nn.Conv2d(16, 4, 1), nn.Conv2d(4, 16, 1)
        self.project = nn.Sequential(nn.Conv2d(16, 8, 1, bias=False), nn.BatchNorm2d(8))
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.deep(self.expand(x))
        y = y * self.excite(F.relu(self.squeeze(y.mean((2, 3), keepdim=True)))).sigmoid()
        return self.head((x + self.project(y)).mean((2, 3)))


class Residual(nn.Module):
    """A stream of channels that two blocks write into, the second through a shortcut of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.one = nn.Sequential(nn.Conv2d(8, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, padding=1))
        self.two = nn.Sequential(
            nn.Conv2d(8, 12, 3, padding=1, stride=2), nn.ReLU(), nn.Conv2d(12, 10, 3, padding=1), nn.BatchNorm2d(10)
        )
        self.short = nn.Conv2d(8, 10, 1, stride=2)
        self.head = nn.Linear(160, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = F.relu(x + self.one(x))
        return self.head(F.relu(self.two(x) + self.short(x)).flatten(1))


class Vision(nn.Module):
    """A small vision transformer: a token of its own, positions, two blocks with torch's attention."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, 16, 4, stride=4), nn.Parameter(torch.randn(1, 1, 16))
        self.positions = nn.Parameter(torch.randn(1, 5, 16))
        self.norms = nn.ModuleList(nn.LayerNorm(16) for _ in range(2))
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(16, 24), nn.GELU(), nn.Linear(24, 16))
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
        y = self.norms[0](x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return self.head((x + self.mlp(self.norms[1](x)))[:, 0])


def plain() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 9, 3), nn.BatchNorm2d(9), nn.ReLU(), nn.Conv2d(9, 7, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(112, 6), nn.ReLU(), nn.Linear(6, 5),
    )  # fmt: skip


#: name → (module, units that it has)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...]]] = {
    "plain": (plain, ("filters", "neurons")),
    "depthwise and squeeze-excite": (Depthwise, ("filters",)),
    "residual": (Residual, ("filters",)),
    "vision transformer": (Vision, ("neurons", "heads")),
}


def network(name: str) -> Network:
    torch.manual_seed(0)
    module = NETWORKS[name][0]()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.weight)
            nn.init.normal_(part.bias)
            part.running_mean.normal_()  # type: ignore[union-attr]
    return Network(module.eval(), {}, (3, 8, 8), classes=(*"abcde",))


def unit_of(name: str) -> Any:
    found: Any = catalogue.find("unit", name)
    return found(round=1) if hasattr(found, "round") else found()


def ended(net: Network, by: str, unit: Any, numbers: Callable[[int], Tensor]) -> tuple[Finished, Any]:
    """What a companion leaves whose gates end with these numbers behind them, and the companion's state."""
    found: Any = catalogue.find("companion", by)
    companion = found().of(unit, Selection())
    copied = net.clone()
    state = companion.begin(copied, START)
    state.reals.copy_(numbers(state.gated.gates.total))
    return companion.finish(copied, state), state


def answers(net: Network) -> Tensor:
    with evaluating(net.module):
        found: Tensor = net.module(example_input(net, 4))
    return found


def mixed(total: int) -> Tensor:
    """Some closed, some open, some between, of either law."""
    return torch.randn(total, generator=torch.Generator().manual_seed(1)) * 4


CASES = [(by, name, unit) for by in GATED for name, (_, units) in NETWORKS.items() for unit in units]


@pytest.mark.parametrize(("by", "name", "unit"), CASES)
def test_closed_parts_leave_with_parity(by: str, name: str, unit: str) -> None:
    net = network(name)
    finished, state = ended(net, by, unit_of(unit), mixed)
    left = removed(finished, by)
    assert left.decided == () and "computes something else" not in left.note
    torch.testing.assert_close(answers(left.network), answers(finished.network), rtol=1e-4, atol=1e-5)
    (decided,) = finished.decided
    gone = {group: int(parts.sum()) for group, parts in decided.gone.items()}
    stays = {group: max(1, size - gone[group]) for group, size in state.gated.gates.sizes.items()}
    found = decided.unit.find(left.network, Selection()) if any(size > 1 for size in stays.values()) else None
    sizes = {group.name: group.size for group in found.groups} if found else {}
    assert sizes == {group: size for group, size in stays.items() if size > 1}
    (figure,) = left.reached
    total = sum(state.gated.gates.sizes.values())
    assert (figure.value, figure.of, figure.noun) == (total - sum(stays.values()), total, decided.unit.one)
    assert {row["layer"]: (row["of"] - row["gone"], row["of"]) for row in left.ranking} == {
        group: (stays[group], size) for group, size in state.gated.gates.sizes.items()
    }
    assert len(left.edits) == sum(row["gone"] > 0 for row in left.ranking)


def test_every_companion_that_removes_parts_is_one_of_these_or_has_tests_of_its_own() -> None:
    found = {name: catalogue.find("companion", name) for name in catalogue.names("companion")}
    removing = {name for name, companion in found.items() if companion.leaves == PARTS}  # type: ignore[union-attr]
    assert set(GATED) <= removing
    for name in removing:
        companion: Any = found[name]
        assert companion.units and all(catalogue.find("unit", unit) for unit in companion.units)


@pytest.mark.parametrize("by", GATED)
def test_a_layer_that_collapses_keeps_one_channel_and_is_named(by: str) -> None:
    net = network("plain")
    left = removed(ended(net, by, Filters(round=1), lambda total: torch.full((total,), -9.0))[0], by)
    assert [row["of"] - row["gone"] for row in left.ranking] == [1, 1]
    assert "collapsed: `0`, `3` lose every filter, so each keeps one" in left.note
    assert answers(left.network).isfinite().all()
    some = torch.cat([torch.full((9,), -9.0), torch.full((7,), 9.0)])
    left = removed(ended(net, by, Filters(round=1), lambda _: some)[0], by)
    assert "collapsed: `0` loses every filter, so it keeps one" in left.note


@pytest.mark.parametrize("by", GATED)
def test_nothing_is_closed(by: str) -> None:
    net = network("plain")
    finished, _ = ended(net, by, Filters(round=1), lambda total: torch.full((total,), 9.0))
    left = removed(finished, by)
    assert left.network.edits == () and left.edits == () and left.reached[0].value == 0
    assert "no filter lost its effect, so none is removed" in left.note
    assert torch.equal(answers(left.network), answers(net))


def test_widths_are_rounded_and_what_stays_for_it_is_told() -> None:
    """7 of 9 closed, multiples of 4: 4 stay, the 2 open ones and the best 2 of the closed, which have no effect."""
    net = network("plain")
    numbers = torch.cat([torch.tensor([1.0, 1, -1, -2, -3, -4, -5, -6, -7]), torch.ones(7)])
    finished, _ = ended(net, "joint", Filters(round=4), lambda _: numbers)
    left = removed(finished, "joint")
    (row, _) = left.ranking
    assert (row["gone"], row["of"]) == (5, 9)
    assert "2 filters without effect stay" in left.note and "`filters(round=1)`" in left.note
    torch.testing.assert_close(answers(left.network), answers(finished.network), rtol=1e-4, atol=1e-5)
    assert not left.network.module.get_parameter("3.weight")[:, 2:].any()


def test_what_the_network_still_depends_on_stays_with_the_reason() -> None:
    """A companion that is wrong about a group: the parts stay, others leave."""
    net = network("plain")
    finished, _ = ended(
        net, "joint", Filters(round=1), lambda total: torch.cat([torch.ones(9), -torch.ones(total - 9)])
    )
    (decided,) = finished.decided
    wrong = replace(decided, gone={**decided.gone, "0": torch.arange(9) < 3})
    left = removed(replace(finished, decided=(wrong,)), "joint")
    assert {row["layer"]: row["gone"] for row in left.ranking} == {"0": 0, "3": 6}
    assert "`0` (without what it would lose the network computes something else" in left.note
    torch.testing.assert_close(answers(left.network), answers(finished.network), rtol=1e-4, atol=1e-5)


def test_masks_are_cut_with_their_weights() -> None:
    net = network("plain")
    keep = torch.rand(7, 9, 3, 3, generator=torch.Generator().manual_seed(0)) < 0.5
    with torch.no_grad():
        net.module.get_parameter("3.weight").mul_(keep)
    masked = net.restricted({"3.weight": Mask("weights", keep)})
    left = removed(ended(masked, "joint", Filters(round=1), mixed)[0], "joint")
    mask = left.network.masks["3.weight"]
    assert mask.keep.shape == left.network.module.get_parameter("3.weight").shape != keep.shape


def test_scores_must_be_numbers() -> None:
    finished, _ = ended(network("plain"), "joint", Filters(round=1), mixed)
    (decided,) = finished.decided
    broken = replace(decided, scores={**decided.scores, "0": torch.full((9,), torch.nan)})
    with pytest.raises(Refusal) as refusal:
        removed(replace(finished, decided=(broken,)), "joint")
    assert refusal.value.code == "RCP1006"


@pytest.mark.parametrize("by", GATED)
def test_layers_with_closed_gates_leave_whole(by: str) -> None:
    """All of them may go; those that stay have their gate in the last weights of their branch."""
    torch.manual_seed(0)
    net = Network(digits_resnet().eval(), {}, (1, 8, 8), classes=tuple("0123456789"))
    for part in net.module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
    numbers = torch.tensor([-9.0, 9.0, 0.3, -9.0])
    finished, state = ended(net, by, Layers(), lambda total: numbers.repeat(total)[:total])
    closed = [name for name, parts in finished.decided[0].gone.items() if parts.all()]
    left = removed(finished, by)
    assert closed == [name for number, name in enumerate(state.gated.gates.sizes) if number % 4 in (0, 3)]
    assert [edit.name for edit in left.network.edits] == closed
    torch.testing.assert_close(answers(left.network), answers(finished.network), rtol=1e-4, atol=1e-5)
    assert "collapsed" not in left.note
    if by == "l0":  # whose penalty counts the weights of each layer
        sizes = [
            sum(p.numel() for p in net.module.get_submodule(name).parameters()) for name in state.gated.gates.sizes
        ]
        assert state.weights.tolist() == sizes
    finished, _ = ended(net, by, Layers(), lambda total: torch.full((total,), -9.0))
    assert len(removed(finished, by).network.edits) == len(state.gated.gates.sizes)


def test_layers_leave_whole() -> None:
    """A unit whose groups are of one part: a layer whose weights ended at zero."""
    torch.manual_seed(0)
    net = Network(digits_resnet().eval(), {}, (1, 8, 8), classes=tuple("0123456789"))
    offer = Layers().find(net, Selection())
    chosen = offer.groups[1]
    with torch.no_grad():
        for name, parameter in net.module.named_parameters():
            if name.startswith(f"{chosen.layers[0]}."):
                parameter.zero_()
    scores = {group.name: torch.ones(1) for group in offer.groups}
    gone = {group.name: torch.tensor([group is chosen]) for group in offer.groups}
    left = removed(Finished(net, (Decided(Layers(), offer, scores, gone),)), "sss")
    assert left.edits == (f"removed `{chosen.name}`",)
    torch.testing.assert_close(answers(left.network), answers(net), rtol=1e-4, atol=1e-5)
    assert [row["layer"] for row in left.ranking if row["removed"]] == [chosen.name]
