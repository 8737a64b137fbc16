"""`in` and `except`: globs, types, first and last."""

from __future__ import annotations

import pytest
from torch import nn

from recipelang.errors import Refusal, Span
from recipelang.plan import Selection, Selector
from recipelang.surgery.candidates import find_layers
from recipelang.surgery.network import Network
from recipelang.surgery.selectors import resolve, select_layers
from recipelang.surgery.tracing import example_input


def glob(text: str) -> Selector:
    return Selector("glob", text)


def test_nothing_said_means_everything(digits: Network) -> None:
    assert resolve(digits.module, Selection()) == tuple(path for path, _ in digits.module.named_modules() if path)


def test_a_glob_is_dotted_and_takes_what_is_inside(digits: Network) -> None:
    block = ("layer1.0", "layer1.0.conv1", "layer1.0.bn1", "layer1.0.conv2", "layer1.0.bn2")
    assert resolve(digits.module, Selection((glob("layer1.0"),))) == block
    assert resolve(digits.module, Selection((glob("layer1.*.conv1"),))) == tuple(f"layer1.{k}.conv1" for k in range(5))
    assert resolve(digits.module, Selection((glob("layer[12].0.bn?"),)))[0] == "layer1.0.bn1"


def test_type_first_and_last(digits: Network) -> None:
    assert resolve(digits.module, Selection((Selector("type", "Linear"),))) == ("linear",)
    assert resolve(digits.module, Selection((Selector("first"),))) == ("conv1",)
    assert resolve(digits.module, Selection((Selector("last"),))) == ("linear",)
    blocks = resolve(digits.module, Selection((Selector("type", "BasicBlock"),), (Selector("type", "BatchNorm2d"),)))
    assert "layer1.0.conv1" in blocks and "layer1.0.bn1" not in blocks


def test_a_type_is_a_class_or_its_base_and_never_every_module(digits: Network) -> None:
    norms = resolve(digits.module, Selection((Selector("type", "_BatchNorm"),)))
    assert len(norms) == 21
    for name in ("Module", "object"):
        with pytest.raises(Refusal):
            resolve(digits.module, Selection((Selector("type", name),)))


@pytest.mark.parametrize(
    ("selector", "shown", "near"),
    [
        (glob("layr1.*"), '`"layr1.*"` matches no module', '`"layer1.*"` (25 modules)'),
        (glob("layer1.0.conv1.weight"), "weight", '`"layer1.0.conv1"` (1 module)'),
        (glob("LAYER1.*"), "LAYER1", "nearest:"),
        (Selector("type", "Liner"), "`type(Liner)` matches no module", "`type(Linear)` (1 module)"),
        (glob("zzz"), "zzz", '`"layer1.*"`'),
    ],
)
def test_what_matches_nothing_is_refused_with_the_nearest(
    digits: Network, selector: Selector, shown: str, near: str
) -> None:
    for selection in (Selection((selector,)), Selection((), (selector,)), Selection((glob("layer1.*"), selector))):
        with pytest.raises(Refusal) as caught:
            resolve(digits.module, selection)
        assert caught.value.code == "RCP0703"
        assert shown in caught.value.message
        assert near in caught.value.help


def test_nothing_left_is_refused(digits: Network) -> None:
    with pytest.raises(Refusal, match="no module is left"):
        resolve(digits.module, Selection((glob("layer1.*"),), (glob("layer1"),)))


def test_a_layer_goes_only_as_a_whole(digits: Network) -> None:
    layers = find_layers(digits.module, example_input(digits))

    def free(include: tuple[str, ...], exclude: tuple[str, ...] = ()) -> list[str]:
        selection = Selection(tuple(map(glob, include)), tuple(map(glob, exclude)))
        return [layer.name for layer in select_layers(digits.module, layers, selection)]

    assert free(("layer2",)) == ["layer2.1", "layer2.2", "layer2.3", "layer2.4"]
    assert free(("layer2.*",), ("layer2.3.conv1", "*.4")) == ["layer2.1", "layer2.2"]
    assert free(("layer1.0.conv1",)) == []
    assert len(free((), ("linear",))) == len(layers)


def test_the_refusal_points_at_the_selector_and_not_at_its_statement(digits: Network) -> None:
    word, statement = Span(75, 79, 3, 38, 3, 42), Span(38, 93, 3, 1, 3, 56)
    with pytest.raises(Refusal) as caught:
        resolve(digits.module, Selection(exclude=(Selector("glob", "fc", word),)))
    assert caught.value.at(statement).span == word
    assert caught.value.at(None).span is None  # a step that stands in no recipe


def test_a_network_whose_modules_are_numbered_offers_their_numbers() -> None:
    flat = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    with pytest.raises(Refusal) as refused:
        resolve(flat, Selection((glob("features"),)))
    assert refused.value.help.startswith('nearest: `"0"` (1 module), `"1"` (1 module);')
