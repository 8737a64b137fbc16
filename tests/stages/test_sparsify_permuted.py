"""`sparsify nm 2:4 with permute`: channels first, then masks; gains are reported, the impossible is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from contexts import Given, context, operation
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.kernels.nm.permutation import kept
from recipelang.kinds import Labels, ModelRequest
from recipelang.kinds.figure import words
from recipelang.methods.models.digits_resnet import DigitsResNet
from recipelang.methods.models.python import Python
from recipelang.methods.patterns.nm import NM
from recipelang.plan import canonical
from recipelang.run.foresight import foresee
from recipelang.run.options import Options
from recipelang.run.timing import Times
from recipelang.stages import sparsify
from recipelang.stages.context import Context, Outcome
from recipelang.surgery import artifact
from recipelang.surgery.masks import eligible
from recipelang.surgery.network import Network
from recipelang.surgery.parity import relative_difference
from recipelang.surgery.permute import Reordering, permute, require_groups
from recipelang.surgery.restricting import broken
from recipelang.surgery.tracing import evaluating, example_input

CLASSES = tuple(str(k) for k in range(10))


class Counting:
    """Progress that records what was started and how far it got."""

    def __init__(self) -> None:
        self.pieces: list[list[Any]] = []

    def start(self, what: str, total: int | None = None) -> None:
        self.pieces.append([what, total, 0])

    def advance(self, parts: int = 1, note: str = "") -> None:
        self.pieces[-1][2] += parts

    def stop(self) -> None: ...

    def say(self, line: str) -> None: ...


def given(network: Network, progress: Any = None) -> Context:
    images = torch.randn(48, *network.input_shape, generator=torch.Generator().manual_seed(3))
    return context(network, Given(images, 16, Labels(CLASSES)), progress=progress or Counting())


def sparse(text: str, network: Network) -> Outcome:
    return sparsify.run(operation(text), given(network))


@pytest.fixture
def network() -> Network:
    """The embedded network with weights of very different size, so that the order of channels matters."""
    torch.manual_seed(0)
    network = DigitsResNet().build(ModelRequest(CLASSES, (1, 8, 8)))
    for part in network.module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.running_mean, 0, 0.1)
        if isinstance(part, nn.Conv2d):
            part.weight.data *= torch.rand(1, part.weight.shape[1], 1, 1) ** 2
    return network


def magnitude(network: Network) -> float:
    """The part of all eligible weights' magnitude that stays."""
    weights = dict(network.module.named_parameters())
    return sum(float(weights[name].detach().abs().sum()) for name in network.masks)


@pytest.mark.parametrize("criterion", ["magnitude", "taylor", "wanda", "sparsegpt(damp=0.1)", "random"])
def test_every_criterion_can_be_preceded_by_it(criterion: str, network: Network) -> None:
    outcome = sparse(f"sparsify nm 2:4 by {criterion} with permute(effort=0) on train(samples=32)", network)
    names, _ = eligible(network, NM())
    assert set(outcome.network.masks) == set(names) and not broken(outcome.network)
    assert all(NM().holds(outcome.network.module.get_parameter(name)) for name in names)
    found = re.search(r"(\d+) of 13 groups .* another order, and ([\d.]+) % .* instead of ([\d.]+) %", outcome.note)
    assert found and int(found[1]) > 3 and float(found[2]) > float(found[3]), outcome.note
    assert words(outcome.reached) == f"{len(names)} of {len(names) + 1} weights are 2:4"
    assert len(outcome.edits) == int(found[1]) + len(names)
    assert "16 input channels of `layer1.0.conv1.weight` and 10 more are in another order" in outcome.edits


def test_more_of_the_weights_stays(network: Network) -> None:
    plain, permuted = (sparse(f"sparsify nm 2:4{tail}", network) for tail in ("", " with permute"))
    assert magnitude(permuted.network) > 1.03 * magnitude(plain.network)
    assert "another order" not in plain.note


@dataclass(frozen=True)
class Backwards:
    """The last channel first, whatever the scores."""

    name: ClassVar[str] = "backwards"

    def order(self, scores: Tensor, n: int, m: int, seed: int) -> Tensor:
        return torch.arange(scores.shape[1]).flip(0)


@pytest.mark.parametrize("selection", ["", ' in "layer1.*"', ' except "layer2.1.conv1", "linear"'])
def test_scores_move_along_with_their_weights(selection: str, network: Network) -> None:
    """As if a network whose channels had always been in this order were scored and pruned."""
    asked = replace(operation(f"sparsify nm 2:4 by magnitude{selection}"), permutation=Backwards())
    names, _ = eligible(network, NM(), asked.selection)
    groups = require_groups(network, names, NM())
    turned = permute(network, [Reordering(group, tuple(reversed(range(group.size)))) for group in groups])
    plain = sparsify.run(replace(asked, permutation=None), given(turned)).network
    found = sparsify.run(asked, given(network)).network
    state = plain.module.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in found.module.state_dict().items())
    assert found.masks.keys() == plain.masks.keys() == set(names)
    assert all(torch.equal(mask.keep, plain.masks[name].keep) for name, mask in found.masks.items())
    assert {member.name for group in groups for member in group.at(1)} >= set(names)


def test_a_later_pattern_elsewhere_leaves_the_first_one_whole(network: Network) -> None:
    first = sparse('sparsify nm 2:4 in "layer1.*" with permute(effort=0)', network).network
    second = sparse('sparsify nm 1:4 in "layer2.*" with permute(effort=0)', first).network
    assert not broken(second) and set(first.masks) < set(second.masks)
    for name, mask in second.masks.items():
        pattern = NM(2, 4) if name in first.masks else NM(1, 4)
        assert mask.pattern == str(pattern) and pattern.holds(second.module.get_parameter(name))


def test_the_same_step_gives_the_same_network_and_says_how_far_it_is(network: Network) -> None:
    asked, progress = operation("sparsify nm 2:4 with permute(effort=3)"), Counting()
    first, again = (sparsify.run(asked, given(network, progress)) for _ in range(2))
    state = again.network.module.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in first.network.module.state_dict().items())
    assert first.note == again.note
    assert progress.pieces == [["reordering channels", 13, 13]] * 2


def test_sparsegpt_says_which_of_how_many_weights_it_is_at(network: Network) -> None:
    progress = Counting()
    text = 'sparsify nm 2:4 by sparsegpt in "layer1.0.*"'
    found = sparsify.run(operation(text), given(network, progress))
    assert words(found.reached) == "2 of 2 weights are 2:4"
    looks = [(what, total, done) for what, total, done in progress.pieces if "of 2" in what]
    assert [what.split(",")[0] for what, _, _ in looks] == ["weight 1 of 2", "weight 2 of 2"]
    assert all(total == done == 48 for _, total, done in looks)


def test_what_is_asked_decides_the_key() -> None:
    texts = ("", " with permute", " with permute(effort=7)")
    keys = [str(canonical(operation(f"sparsify nm 2:4{text}"))) for text in texts]
    assert len(set(keys)) == 3


CODE = """
from torch import nn

def build(classes):
    return nn.Sequential(
        nn.Conv2d(1, 12, 3), nn.BatchNorm2d(12), nn.ReLU(), nn.Conv2d(12, 8, 3, bias=False), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, classes),
    )
"""


def test_a_network_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(CODE, encoding="utf-8")
    torch.manual_seed(0)
    request = ModelRequest(CLASSES, (1, 8, 8), resolve=lambda path: tmp_path / path, trust=True)
    network = Python("net.py:build").build(request)
    assert foresee(operation("sparsify nm 2:4 with permute"), network, lambda _: None, Times(Options())) == (
        "2 weights can be 2:4, 1 stays dense",
        "2 groups of input channels can be reordered",
    )
    outcome = sparse("sparsify nm 2:4 with permute", network)
    artifact.save(outcome.network, tmp_path / "saved")
    back = artifact.load(tmp_path / "saved", trust=True)
    example = example_input(network)
    with evaluating(back.module), evaluating(outcome.network.module):
        assert relative_difference(back.module(example), outcome.network.module(example)) == 0
    assert not broken(back)


def stuck(module: nn.Module, shape: tuple[int, int, int] = (4, 3, 3)) -> Network:
    return Network(module.eval(), {}, shape, classes=CLASSES)


def test_where_no_channel_may_move_the_step_fails() -> None:
    flat = stuck(nn.Sequential(nn.Conv2d(4, 8, 1), nn.Flatten(), nn.Linear(72, 10)))
    asked = operation("sparsify nm 2:4 with permute")
    for attempt in (
        lambda: sparsify.run(asked, given(flat)),
        lambda: foresee(asked, flat, lambda _: None, Times(Options())),
    ):
        with pytest.raises(Refusal, match="no input channels can be reordered before 2:4: ") as refusal:
            attempt()
        assert refusal.value.code == "RCP0720"
        assert "those of 1 weight: they are the network's input" in str(refusal.value)
        assert "those of 1 weight: `flatten` splits or merges them" in str(refusal.value)


class Fickle(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(4, 8, 1), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x).mean((2, 3))
        return self.last(y if y.sum() > 0 else -y)


def test_where_the_network_cannot_be_traced_the_step_fails() -> None:
    with pytest.raises(Refusal, match="cannot be traced") as refusal:
        sparse("sparsify nm 2:4 with permute", stuck(Fickle()))
    assert refusal.value.code == "RCP0718" and "remove `with permute`" in refusal.value.help


def test_where_the_order_is_the_best_already_the_step_says_so() -> None:
    network = stuck(nn.Sequential(nn.Conv2d(4, 8, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)))
    with torch.no_grad():
        network.module[3].weight.copy_(torch.tensor([1.0, 1.0, 0, 0, 1.0, 1.0, 0, 0]).expand(10, 8))
    outcome = sparse("sparsify nm 2:4 with permute", network)
    assert "no group of channels gains by another order" in outcome.note
    assert kept(network.module[3].weight.detach(), 2, 4) == 40
    assert torch.equal(outcome.network.module[3].weight, network.module[3].weight)
