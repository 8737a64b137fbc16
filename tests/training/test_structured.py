"""What `ssl` and `sss` do to networks of all sorts: exact zeros, and what is removed for them, with parity."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from penalised import answers, made, size, trained
from torch import nn

from recipelang.catalogue import spell
from recipelang.errors import Refusal, SettingError
from recipelang.images.dataset import ImageDataset
from recipelang.kinds import MASKS, PARTS
from recipelang.methods.companions.ssl import Ssl
from recipelang.methods.companions.sss import Sss
from recipelang.methods.units.filters import Filters
from recipelang.methods.units.heads import Heads
from recipelang.methods.units.layers import Layers
from recipelang.methods.units.neurons import Neurons
from recipelang.stages._leaving import removed
from recipelang.surgery.network import Network
from recipelang.surgery.restricting import restrict
from recipelang.surgery.restrictions.mask import Mask

CASES = [
    ("residual", Ssl(2.0, unit=Filters(round=1))),
    ("residual", Ssl(8.0, unit=Layers())),
    ("residual", Ssl(2.0, unit=Filters(round=1), depth=6.0)),
    ("residual", Ssl(channels=1.0)),
    ("residual", Sss(3.0, momentum=0.5)),
    ("residual", Sss(2.0, unit=Filters(round=1), momentum=0.5)),
    ("depthwise", Ssl(2.0, unit=Filters(round=1))),
    ("depthwise", Ssl(14.0, unit=Layers())),
    ("depthwise", Sss(3.0, momentum=0.5)),
    ("depthwise", Sss(2.0, unit=Filters(round=1), momentum=0.5)),
    ("vit", Ssl(0.5, unit=Neurons(round=1))),
    ("vit", Ssl(2.0, unit=Heads())),
    ("vit", Ssl(10.0, unit=Layers())),
    ("vit", Sss(2.0, unit=Neurons(round=1), momentum=0.5)),
    ("vit", Sss(2.0, unit=Heads(), momentum=0.5)),
    ("vit", Sss(3.0, momentum=0.5)),
    ("plain", Ssl(0.5, unit=Neurons(round=1))),
    ("plain", Sss(2.0, unit=Neurons(round=1), momentum=0.5)),
]


@pytest.mark.parametrize(("name", "companion"), CASES, ids=lambda one: one if isinstance(one, str) else spell(one))
def test_what_is_exactly_zero_is_removed_and_the_network_computes_the_same(
    name: str, companion: Any, data: ImageDataset, silent: Any
) -> None:
    network = made(name)
    assert companion.leaves == PARTS
    whole, record = trained(network, data, silent, companion)
    assert size(whole) == size(network), "the parts are still there"
    left = removed(record.left, companion.name)
    expected, found = answers(whole), answers(left.network)
    assert float((found - expected).abs().max()) <= 1e-4 * float(expected.abs().max())
    gone = sum(int(parts.sum()) for one in record.left.decided for parts in one.gone.values())
    assert gone and size(left.network) < size(network)
    assert sum(figure.value or 0 for figure in left.reached if figure.what == "removed") == gone
    assert expected.isfinite().all()


def test_several_sorts_at_once_on_a_network_of_filters_and_neurons(data: ImageDataset, silent: Any) -> None:
    """Filters and neurons that nothing reads go with their columns; what has columns of zeros besides is masked."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 10, 3, stride=2), nn.ReLU(), nn.Flatten(),
        nn.Linear(90, 16), nn.ReLU(), nn.Linear(16, 3),
    )  # fmt: skip
    with torch.no_grad():
        for part in module:
            if isinstance(part, nn.Conv2d | nn.Linear):
                part.weight.mul_(
                    torch.linspace(0.05, 1.5, part.weight.shape[1])[None, :, *[None] * (part.weight.ndim - 2)]
                )
    network = Network(module.eval(), {}, (3, 8, 8), classes=(*"abc",))
    companion = Ssl(channels=0.5, shapes=0.4)
    whole, record = trained(network, data, silent, companion)
    assert {one.unit.name for one in record.left.decided} == {"filters", "neurons"}
    left = removed(record.left, "ssl")
    expected, found = answers(whole), answers(left.network)
    assert float((found - expected).abs().max()) <= 1e-4 * float(expected.abs().max())
    removals = {one.unit.name: sum(int(p.sum()) for p in one.gone.values()) for one in record.left.decided}
    assert all(removals.values()), removals
    assert left.network.masks and all(not mask.keep.all() for mask in left.network.masks.values())
    for name, mask in left.network.masks.items():
        weight = left.network.module.get_parameter(name)
        assert not weight[~mask.keep].any() and mask.keep.all(0).logical_or(~mask.keep.any(0)).all(), "whole columns"
        assert weight[:, mask.keep[0]].any(0).all() if weight.ndim == 2 else True, "no column of zeros is left out"


def test_a_penalty_that_would_take_a_layer_whole_leaves_one_and_says_which(data: ImageDataset, silent: Any) -> None:
    both: tuple[Any, ...] = (
        Ssl(100.0, unit=Filters(round=1)),
        Sss(200.0, unit=Filters(round=1), momentum=0.0),
    )
    for companion in both:
        whole, record = trained(made("residual"), data, silent, companion)
        assert all(name in record.left.note for name in ("collapsed", "`0`", "`3.conv1`", "`4.conv1`"))
        left = removed(record.left, companion.name)
        widths = [part.out_channels for part in left.network.module.modules() if isinstance(part, nn.Conv2d)]
        assert widths == [1] * 5
        assert answers(left.network).isfinite().all()
        torch.testing.assert_close(answers(left.network), answers(whole), rtol=1e-4, atol=1e-5)
    _, record = trained(made("plain"), data, silent, Ssl(shapes=100.0))
    assert "collapsed" in record.left.note and "`1.weight`" in record.left.note
    assert all(int(mask.keep.any(0).sum()) == 1 for mask in record.left.network.masks.values())


def test_networks_that_have_nothing_for_it_are_refused() -> None:
    cases = (
        ("plain", Ssl(), "RCP0910", "no filter"),
        ("plain", Ssl(unit=Layers()), "RCP0910", "no layer"),
        ("plain", Sss(), "RCP0910", "no layer"),
        ("residual", Ssl(1.0, unit=Neurons()), "RCP0910", "no neuron"),
        ("residual", Sss(unit=Heads()), "RCP0910", "no head"),
    )
    for name, companion, code, words in cases:
        with pytest.raises(Refusal, match=words) as refusal:
            companion.foresee(made(name))
        assert refusal.value.code == code and refusal.value.help
    frozen = made("residual")
    frozen.module.requires_grad_(False)
    for companion, words in ((Ssl(), "is frozen"), (Ssl(shapes=1.0), "frozen"), (Ssl(unit=Layers()), "is frozen")):
        with pytest.raises(Refusal, match=words):
            companion.foresee(frozen)
    with pytest.raises(Refusal, match="frozen") as refusal:
        Sss().foresee(frozen)
    assert refusal.value.code == "RCP0850"


def test_settings_that_contradict_each_other() -> None:
    wrong: tuple[dict[str, Any], ...] = (
        {"unit": Layers(), "depth": 1.0, "strength": 1.0},
        {"unit": Filters(), "channels": 1.0},
    )
    for settings in wrong:
        with pytest.raises(SettingError):
            Ssl(**settings)
    assert (Ssl().leaves, Ssl(shapes=1.0).leaves, Ssl(channels=1.0).leaves) == (PARTS, MASKS, PARTS)


def test_masks_of_before_hold_and_keep_the_name_of_their_pattern(data: ImageDataset, silent: Any) -> None:
    network = made("plain")
    half = torch.arange(16 * 192).reshape(16, 192) % 4 < 2
    masked = network.restricted({"1.weight": Mask("2:4", half), "3.weight": Mask("50% sparse", half[:12, :16])})
    masked = restrict(masked, {})
    whole, record = trained(masked, data, silent, Ssl(shapes=0.6))
    assert whole.masks["1.weight"].pattern == "2:4" and not (whole.masks["1.weight"].keep & ~half).any()
    assert whole.masks["3.weight"].pattern.endswith("% sparse in columns")
    assert not record.left.decided


def test_a_channel_of_zeros_that_an_activation_makes_a_constant_stays_with_the_reason(
    data: ImageDataset, silent: Any
) -> None:
    """The sigmoid of a filter of zeros is 0.5, which the next layer reads."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.Sigmoid(), nn.Conv2d(8, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(216, 3)
    )
    with torch.no_grad():
        for part in (module[0], module[2]):
            part.weight[::2] *= 0.01
            part.bias[::2] = 0
    network = Network(module.eval(), {}, (3, 8, 8), classes=(*"abc",))
    whole, record = trained(network, data, silent, Ssl(0.5, unit=Filters(round=1)), steps=4)
    (decided,) = record.left.decided
    assert all(bool(parts.any()) for parts in decided.gone.values())
    left = removed(record.left, "ssl")
    torch.testing.assert_close(answers(left.network), answers(whole), rtol=1e-4, atol=1e-5)
    first, second = (part for part in left.network.module.modules() if isinstance(part, nn.Conv2d))
    assert first.out_channels == 8 and second.out_channels < 6
    assert "`0`" in left.note and "computes something else" in left.note
