"""`sparsify nm 2:4` by criteria that use data: masks, corrected weights, and what they cost."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from contexts import Given, context, operation
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import VisionTransformer

from recipelang.errors import Refusal
from recipelang.kernels.nm.reference import nm_holds
from recipelang.kinds import ModelRequest
from recipelang.kinds.figure import words
from recipelang.methods.criteria.sparsegpt import SparseGPT
from recipelang.methods.data.digits import Digits
from recipelang.methods.models.digits_resnet import DigitsResNet
from recipelang.methods.tasks.classification import Classification
from recipelang.scoring.evidence import Gathered
from recipelang.stages import sparsify, train
from recipelang.stages.context import Outcome
from recipelang.surgery.masks import eligible
from recipelang.surgery.network import Network
from recipelang.surgery.restricting import broken

CRITERIA = ("magnitude", "taylor", "wanda", "sparsegpt")


def sparse(network: Network, data: Any, criterion: str, on: str = "train") -> Outcome:
    return sparsify.run(operation(f"sparsify nm 2:4 by {criterion} on {on}"), context(network, data))


def loss(network: Network, data: Any, split: str) -> float:
    with torch.no_grad():
        parts = [F.cross_entropy(network.module(x), y, reduction="sum") for x, y in data.batches(split)]
    return float(sum(parts)) / int(data.size(split))


@pytest.fixture(scope="module")
def digits() -> Any:
    return Digits().open(Path)


@pytest.fixture(scope="module", params=[0, 1])
def trained(request: pytest.FixtureRequest, digits: Any, tmp_path_factory: pytest.TempPathFactory) -> Network:
    torch.manual_seed(request.param)
    network = DigitsResNet().build(ModelRequest(digits.labels.names, digits.input_shape))
    asked = operation("train for 6 epochs with sgd(lr=cosine(0.1, to=0), momentum=0.9)")
    network = train.run(asked, context(network, digits, tmp_path_factory.mktemp("train"), seed=request.param)).network
    return replace(network, module=network.module.eval())


def test_sparsegpt_costs_least_and_keeps_its_masks(trained: Network, digits: Any) -> None:
    before = {name: tensor.clone() for name, tensor in trained.module.state_dict().items()}
    found = {name: sparse(trained, digits, name, "train(samples=256)").network for name in CRITERIA}
    losses = {name: loss(network, digits, "val") for name, network in found.items()}
    assert losses["sparsegpt"] < 0.6 * min(losses["magnitude"], losses["wanda"]), losses
    assert loss(trained, digits, "val") < losses["sparsegpt"]
    assert all(torch.equal(before[name], tensor) for name, tensor in trained.module.state_dict().items())
    for network in found.values():
        assert len(network.masks) == 21 and not broken(network)
    for name, tensor in found["sparsegpt"].module.state_dict().items():
        assert bool(torch.isfinite(tensor).all())
        assert torch.equal(tensor, before[name]) == (name not in found["sparsegpt"].masks)
        assert name not in found["sparsegpt"].masks or nm_holds(tensor, 2, 4)


def test_each_weight_sees_what_the_weights_before_it_leave(trained: Network, digits: Any) -> None:
    final = sparse(trained, digits, "sparsegpt", "train(samples=64)").network
    names = list(final.masks)
    for place in (0, 7, 20):
        halfway = trained.clone()
        with torch.no_grad():
            for name in names[:place]:
                halfway.module.get_parameter(name).copy_(final.module.get_parameter(name))
        evidence = Gathered(halfway, digits, Classification(), samples=64)
        [(_, hessian)] = evidence.second_moments([names[place]])
        weight = evidence.weights[names[place]]
        keep, new = SparseGPT().solve(weight.movedim(1, -1).flatten(1), hessian[0], 2, 4)
        found, mask = final.module.get_parameter(names[place]), final.masks[names[place]].keep
        torch.testing.assert_close(found.detach().movedim(1, -1).flatten(1), new, rtol=1e-4, atol=1e-5)
        assert torch.equal(mask.movedim(1, -1).flatten(1), keep)


def test_a_convolution_is_solved_as_the_linear_layer_that_it_is() -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(8, 6, 3, padding=1, stride=2)
    module = nn.Sequential(convolution, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 3)).eval()
    images = F.conv2d(torch.randn(24, 3, 8, 8), torch.randn(8, 3, 2, 2)) + 0.2 * torch.randn(24, 8, 7, 7)
    found = sparse(Network(module, {}, (8, 7, 7)), Given(images), "sparsegpt").network.module[0]  # type: ignore[index]
    # The same layer by unfolding: patches come as (I, kh, kw) and are turned to (kh, kw, I).
    patches = F.unfold(images, 3, padding=1, stride=2).movedim(1, -1).flatten(0, 1)
    patches = patches.unflatten(1, (8, 9)).mT.flatten(1).double()
    weight = convolution.weight.detach().flatten(2).mT.flatten(1)
    _, expected = SparseGPT().solve(weight, 2 / len(patches) * patches.T @ patches, 2, 4)
    torch.testing.assert_close(found.weight.detach().flatten(2).mT.flatten(1), expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.bias, convolution.bias, rtol=0, atol=0)


class Mixed(nn.Module):
    """Attention, a grouped convolution, one weight used twice and one never."""

    def __init__(self) -> None:
        super().__init__()
        self.groups = nn.Conv2d(4, 4, 3, padding=1, groups=2)
        self.vit = VisionTransformer(8, 4, 2, 2, 8, 16, num_classes=8)
        self.vit.conv_proj = nn.Conv2d(4, 8, 4, stride=4)
        self.vit.heads = nn.Identity()
        self.again, self.head, self.aux = nn.Linear(8, 8), nn.Linear(8, 3), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.again(torch.relu(self.again(self.vit(self.groups(x))))))
        return out


@pytest.mark.parametrize("criterion", CRITERIA)
def test_attention_groups_and_idle_weights(criterion: str) -> None:
    torch.manual_seed(0)
    network = Network(Mixed().eval(), {}, (4, 8, 8))
    able, _ = eligible(network, operation("sparsify nm 2:4").pattern)
    outcome = sparse(network, Given(torch.randn(24, 4, 8, 8)), criterion)
    assert set(outcome.network.masks) == set(able) and "aux.weight" not in able
    assert {"vit.encoder.layers.encoder_layer_0.self_attention.in_proj_weight", "again.weight"} <= set(able)
    assert not broken(outcome.network) and "a convolution with 2 groups" in outcome.note
    assert "no product uses it in evaluation" in outcome.note
    assert words(outcome.reached) == f"{len(outcome.network.masks)} of {len(able) + 2} weights are 2:4"
    for name, mask in outcome.network.masks.items():
        weight = outcome.network.module.get_parameter(name)
        assert nm_holds(weight, 2, 4) and bool(torch.isfinite(weight).all())
        assert int(mask.keep.sum()) * 2 == mask.keep.numel()


def test_a_new_pattern_ends_the_old_one_and_others_stay(digits: Any, trained: Network) -> None:
    first = sparsify.run(operation("sparsify nm 1:4"), context(trained, digits)).network
    text = 'sparsify nm 2:4 by sparsegpt in "layer1.*" on train(samples=64)'
    second = sparsify.run(operation(text), context(first, digits)).network
    patterns = {name: mask.pattern for name, mask in second.masks.items()}
    assert patterns == {name: "2:4" if name.startswith("layer1.") else "1:4" for name in first.masks}
    assert not broken(second)


@dataclass(frozen=True)
class Exploding:
    """A solver whose values are NaN."""

    name: ClassVar[str] = "exploding"
    unit: ClassVar[str] = "element"
    needs: ClassVar[tuple[str, ...]] = ("weights", "activations")

    def solve(self, weight: Tensor, moments: Tensor, n: int, m: int) -> tuple[Tensor, Tensor]:
        return torch.ones_like(weight, dtype=torch.bool), weight / 0


def test_a_correction_that_is_no_number_is_refused(digits: Any, trained: Network) -> None:
    asked = replace(operation("sparsify nm 2:4 on train(samples=64)"), criterion=Exploding())
    with pytest.raises(Refusal, match=r"`layer1\.0\.conv1\.weight` is NaN or infinite") as refusal:
        sparsify.run(asked, context(trained, digits))
    assert refusal.value.code == "RCP1006"
