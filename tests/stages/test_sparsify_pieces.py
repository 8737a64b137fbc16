"""`sparsify PATTERN by CRITERION`: every pattern by every criterion, what stays dense and why, and what comes after."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from contexts import Images, context, operation
from torch import Tensor, nn

from recipelang import catalogue
from recipelang.check import check
from recipelang.errors import RecipeError, Refusal
from recipelang.kinds import PATTERN_SCORES, why_unfit
from recipelang.kinds.figure import words
from recipelang.scoring import pieces
from recipelang.scoring.pieces import piece_scores
from recipelang.stages import finetune, prune, sparsify
from recipelang.surgery.coupled import Removable
from recipelang.surgery.network import Network
from recipelang.surgery.removable import find_removable
from recipelang.surgery.restricting import broken
from recipelang.syntax.parse import parse


def network() -> Network:
    """A chain of convolutions, a sum, a depthwise convolution and two linear layers."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(4, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), Residual(8), nn.Conv2d(8, 16, 3, stride=2)]
    layers += [nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, groups=16), nn.BatchNorm2d(16), nn.ReLU()]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)]
    module = nn.Sequential(*layers).eval()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.weight.data.uniform_(0.5, 1.5)
            part.bias.data.uniform_(-0.5, 0.5)
    return Network(module, {}, (4, 8, 8), classes=("a", "b", "c"))


@cache
def followed() -> Removable:
    """The channels of `network()`."""
    return find_removable(network())


class Residual(nn.Module):
    """x + bn(conv(relu(bn(conv(x)))))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner, self.outer = (nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.first, self.last = nn.BatchNorm2d(width), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.last(self.outer(torch.relu(self.first(self.inner(x)))))
        return out


def sparse(text: str, of: Network | None = None) -> Any:
    return sparsify.run(operation(text), context(of or network(), Images()))


WRITTEN = {"nm": "nm 2:4", "blocks": "blocks 4x2 to 50%"}
SETTINGS = {"ensemble": "ensemble(magnitude, random)"}
CASES = [(pattern, criterion) for pattern in catalogue.names("pattern") for criterion in catalogue.names("criterion")]


@pytest.mark.parametrize(("pattern", "criterion"), CASES)
def test_every_pattern_by_every_criterion_works_or_is_refused_by_check(
    pattern: str, criterion: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By name, before anything runs; `sparsegpt` corrects weights and works on `nm` alone."""
    kinds: Any = catalogue.find("pattern", pattern), catalogue.find("criterion", criterion)
    text = f"sparsify {WRITTEN.get(pattern, f'{pattern} to 50%')} by {SETTINGS.get(criterion, criterion)}"
    unfit = why_unfit(kinds[1], "sparsify", getattr(kinds[0], "scores", PATTERN_SCORES))
    if unfit or (hasattr(kinds[1], "solve") and pattern != "nm"):
        with pytest.raises(RecipeError) as refused:
            check(parse(text))
        assert [d.code for d in refused.value.diagnostics] == ["RCP0413"]
        assert criterion in refused.value.diagnostics[0].message
        return
    asked = operation(text)
    monkeypatch.setattr(pieces, "find_removable", lambda network: followed())
    outcome = sparsify.run(asked, context(network(), Images()))
    masks = outcome.network.masks
    assert masks and not broken(outcome.network)
    for name, mask in masks.items():
        weight = outcome.network.module.get_parameter(name)
        assert asked.pattern.holds(weight) and bool(torch.isfinite(weight).all()) and bool(mask.keep.any())
        assert abs(float((~mask.keep).float().mean()) - 0.5) < 0.01
    if criterion in ("magnitude", "random"):
        again = sparsify.run(asked, context(network(), Images())).network.masks
        assert all(torch.equal(masks[name].keep, again[name].keep) for name in {**masks, **again})
    assert words(outcome.reached).endswith(f"weights are {asked.pattern}")


def test_the_report_names_what_stays_dense() -> None:
    notes = {
        "kernels to 50%": "stays dense: `12.weight` and 1 more (a linear weight has no kernels)",
        "filters to 50%": "stays dense: `12.weight` and 1 more (a linear weight has no filters)",
        "blocks 8x8 to 50%": "`0.weight` (4 input channels are not a multiple of 8)",
        "weights to 50%": "stays dense: `7.weight` (a convolution with 16 groups)",
    }
    assert {text: expected in sparse(f"sparsify {text}").note for text, expected in notes.items()} == dict.fromkeys(
        notes, True
    )
    with pytest.raises(Refusal) as refused:
        sparse('sparsify kernels to 50% in "12"')
    assert refused.value.code == "RCP0910" and "a linear weight has no kernels" in refused.value.message
    assert sparsify.foresee(operation("sparsify kernels to 50%"), network(), lambda _: None).found == (
        "5 weights can be 50% sparse in kernels, 2 stay dense",
    )


def test_the_report_says_which_masks_are_replaced_and_let_zeros_go() -> None:
    half = sparse("sparsify vectors to 50%").network
    fewer = sparse("sparsify weights to 10%", half)
    first = next(iter(half.masks))
    assert f"replaces the mask of `{first}`" in fewer.note and "(was 50% sparse in vectors)" in fewer.note
    name, mask = next(iter(half.masks.items()))
    assert bool((fewer.network.masks[name].keep & ~mask.keep).any())
    assert "replaces" not in sparse("sparsify vectors to 50%", half).note, "the same zeros are held"
    assert "replaces" not in sparse("sparsify vectors to 75%", half).note, "more zeros are held"


def test_scores_of_elements_are_summed_over_the_piece() -> None:
    """S = Σ |w| over the granularity."""
    plain = network()
    masks = sparse("sparsify filters to 50% by magnitude", plain).network.masks
    for name, mask in masks.items():
        norms = plain.module.get_parameter(name).detach().abs().flatten(1).sum(1)
        kept = mask.keep.flatten(1).all(1)
        assert float(norms[kept].min()) > float(norms[~kept].max())


def test_a_criterion_of_filters_ranks_channels_and_coupled_layers_lose_the_same_ones() -> None:
    plain = network()
    masks = sparse("sparsify filters to 50% by bn", plain).network.masks
    kept = {name: mask.keep.flatten(1).all(1) for name, mask in masks.items()}
    assert torch.equal(kept["0.weight"], kept["3.outer.weight"]), "their channels are added"
    assert torch.equal(kept["4.weight"], kept["7.weight"]), "a depthwise convolution"
    module: Any = plain.module
    scale = module[3].first.weight.detach().abs()
    assert torch.equal(kept["3.inner.weight"], scale >= scale.sort(descending=True).values[3])


def test_outputs_of_the_network_stay_dense_by_a_criterion_of_filters() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    convolutional = Network(module.eval(), {}, (4, 8, 8), classes=("a", "b", "c"))
    outcome = sparse("sparsify filters to 50% by fpgm", convolutional)
    assert set(outcome.network.masks) == {"0.weight"} and "`2.weight` (" in outcome.note
    scoring = piece_scores(operation("sparsify filters to 50% by fpgm").criterion, convolutional)
    assert set(scoring.without_channels(convolutional, ["0.weight", "2.weight"])) == {"2.weight"}


def test_convolutions_that_a_criterion_of_filters_cannot_score_are_named_and_none_at_all_is_refused() -> None:
    torch.manual_seed(0)
    layers = [nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU()]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)]
    mixed = Network(nn.Sequential(*layers).eval(), {}, (4, 8, 8), classes=("a", "b", "c"))
    outcome = sparse("sparsify filters to 50% by bn", mixed)
    assert set(outcome.network.masks) == {"0.weight"}
    assert "`3.weight` (`bn` finds nothing in it to score)" in outcome.note
    del layers[1]
    with pytest.raises(Refusal) as refused:
        sparse("sparsify filters to 50% by bn", Network(nn.Sequential(*layers).eval(), {}, (4, 8, 8)))
    assert refused.value.code == "RCP1007" and "BatchNorm" in refused.value.message


def test_filters_that_are_zero_are_the_first_that_prune_removes() -> None:
    masked = sparse('sparsify filters to 50% in "3.inner"').network
    gone = ~masked.masks["3.inner.weight"].keep.flatten(1).any(1)
    pruned = prune.run(
        operation('prune 4 filters(round=1) by magnitude in "3.inner"'), context(masked, Images())
    ).network
    module: Any = pruned.module
    assert module[3].inner.weight.shape[0] == 4 and not bool((module[3].inner.weight == 0).all((1, 2, 3)).any())
    before: Any = masked.module
    torch.testing.assert_close(module[3].inner.weight, before[3].inner.weight[~gone])
    assert pruned.masks["3.inner.weight"].pattern == "0% sparse in filters"


def test_blocks_that_would_be_cut_are_refused_and_whole_ones_go() -> None:
    masked = sparse('sparsify blocks 2x2 to 50% in "3.inner", "3.outer"').network
    with pytest.raises(Refusal) as refused:
        prune.run(operation('prune 1 filters(round=1) by magnitude in "3.inner"'), context(masked, Images()))
    assert refused.value.code == "RCP0756" and "is no longer 50% sparse in blocks 2x2" in refused.value.message


@pytest.mark.parametrize("pattern", ["vectors", "kernels", "filters", "blocks 4x2", "weights"])
def test_masks_of_a_schedule_are_in_the_pattern_and_stay_through_training(pattern: str, tmp_path: Path) -> None:
    by = "fpgm" if pattern == "filters" else "taylor"
    text = f"sparsify {pattern} to 75% by {by} over agp(begin=0 steps, every=2 steps) for 5 epochs with sgd(lr=0.01)"
    asked = operation(text)
    outcome = sparsify.run(asked, context(network(), Images(), tmp_path))
    final = asked.pattern
    assert outcome.network.masks and not broken(outcome.network)
    for name, mask in outcome.network.masks.items():
        assert mask.pattern == str(final) and final.holds(outcome.network.module.get_parameter(name))
        assert abs(float((~mask.keep).float().mean()) - 0.75) < 0.01
    tuned = finetune.run(
        operation("finetune for 2 epochs with sgd(lr=0.05)"), context(outcome.network, Images(), tmp_path)
    )
    for name in outcome.network.masks:
        assert final.holds(tuned.network.module.get_parameter(name))
        changed = tuned.network.module.get_parameter(name) != outcome.network.module.get_parameter(name)
        assert bool(changed.any()), "what stays is trained"


def test_masks_have_json() -> None:
    masks = sparse("sparsify blocks 4x2 to 50%").network.masks
    assert {json.dumps(mask.json()) for mask in masks.values()} == {'{"pattern": "50% sparse in blocks 4x2"}'}
