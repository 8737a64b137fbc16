"""Networks as users bring them: every unit is removed, or refused in words, and what stays has a reason."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from recipelang.catalogue import find
from recipelang.errors import Refusal
from recipelang.kinds import ModelRequest
from recipelang.plan import Selection
from recipelang.surgery.network import Network
from recipelang.surgery.parity import answers_in
from recipelang.surgery.tracing import example_input

FOLDER = Path(__file__).parent / "odd"
UNITS = ("filters", "neurons", "heads", "layers")
NONE = "RCP0910"
#: what is refused; everything else is removed. "" stands for the network itself
USUAL = {"heads": NONE}
UNTRACED = {"filters": "RCP0718", "neurons": "RCP0718", "heads": "RCP0718"}
REFUSED: dict[str, dict[str, str]] = {
    "closure_skip": {"": "RCP0722"},
    "own_copy": {"": "RCP0722"},
    "complex_parameters": {"": "RCP0712"},
    "all_double": {"": "RCP0712"},
    "scripted": {"": "RCP0712"},
    "traced_by_jit": {"": "RCP0712"},
    "unpacked_program": {"": "RCP0713"},
    "branch_on_values": UNTRACED,
    "steps_until_enough": UNTRACED,
    "shapes_from_values": UNTRACED,
    "selected_by_mask": UNTRACED,
    "experts": UNTRACED,
    "spectral_norm": {"filters": NONE, "heads": NONE},
    "spectral_norm_by_hook": {"filters": NONE, "heads": NONE},
    "called_twice": {"layers": NONE, "heads": NONE},
    "checkpointed": {"layers": NONE, "heads": NONE},
    "one_module_two_names": {"layers": NONE, "heads": NONE},
    "graph_module": {"layers": NONE, "heads": NONE},
    "two_answers": {"neurons": NONE, "heads": NONE},
    "without_norm": {"neurons": NONE, "heads": NONE, "layers": NONE},
    "only_computed": {"neurons": NONE, "heads": NONE, "layers": NONE},
    "encoder_layer": {},
    "one_channel": dict.fromkeys(UNITS, NONE),
    "no_hidden_layer": dict.fromkeys(UNITS, NONE),
}
#: those of a quick look
FIRST = {
    "tied_weights", "weight_norm", "weight_norm_by_hook", "symmetric", "spectral_norm", "frozen_modules", "gru",
    "cells_in_a_loop", "called_twice", "branch_on_values", "custom_autograd", "batch_dependent",
    "weight_standardisation", "selected_by_mask", "buffers_as_weights", "complex_parameters", "half_parts",
    "hook_that_reorders", "closure_skip", "lambda_layer", "graph_module",
}  # fmt: skip
LAYERS = (nn.modules.conv._ConvNd, nn.Linear, nn.Bilinear, nn.Embedding, nn.RNNBase, nn.RNNCellBase)


def networks() -> list[Any]:
    """(file, function) of every network, all but the first ones marked slow."""
    found = []
    for file in sorted(FOLDER.glob("*.py")):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.FunctionDef) and not node.args.args:
                marks = () if node.name in FIRST else (pytest.mark.slow,)
                found.append(pytest.param(file.name, node.name, id=node.name, marks=marks))
    return found


def built(file: str, function: str) -> Network:
    method = find("model", "python")
    assert method is not None
    request = ModelRequest(tuple("0123456789"), (1, 8, 8), resolve=lambda text: FOLDER / text, trust=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some of these kinds of modules are deprecated
        network: Network = method(where=f"{file}:{function}").build(request)
    return network


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("file", "name"), networks())
def test_an_odd_network(file: str, name: str) -> None:
    expected = REFUSED.get(name, USUAL)
    code, network = refused(lambda: built(file, name))
    assert code == expected.get("", ""), name
    if network is None:
        return
    found: dict[str, str] = {}
    known: set[str] = set()
    for unit in UNITS:
        method = find("unit", unit)
        assert method is not None
        found[unit], told = refused(partial(removed, method(), network))
        known |= told or set()
    assert {unit: code for unit, code in found.items() if code} == expected
    if not found["filters"]:
        own = dict(network.module.named_parameters())  # of a tied weight the first name alone
        layers = {path for path, part in network.module.named_modules() if isinstance(part, LAYERS)}
        layers = {path for path in layers if any(name.startswith(f"{path}.") for name in own if "weight" in name)}
        assert layers <= known, "every layer loses something or is named with a reason"


def refused(act: Callable[[], Any]) -> tuple[str, Any]:
    """The code of a refusal, which says what to do, or "" and what was returned."""
    try:
        return "", act()
    except Refusal as refusal:
        assert refusal.message and refusal.help and "Traceback" not in refusal.message
        return refusal.code, None


def removed(unit: Any, network: Network) -> set[str]:
    """Remove a third of every group, and train a step; the layers that lose something, or stay for a reason."""
    offer = unit.find(network, Selection())
    gone = {g.name: range(min(g.most, max(g.step, g.size // 3 // g.step * g.step))) for g in offer.groups}
    smaller, stays = unit.remove(network, offer, {name: parts for name, parts in gone.items() if parts})
    assert all(offer.stay.values()) and all(stays.values())
    assert sum(p.numel() for p in smaller.module.parameters()) < sum(p.numel() for p in network.module.parameters())
    answers = answers_in(smaller.module.train()(example_input(smaller, 4)))
    torch.stack([answer.square().mean() for answer in answers]).sum().backward()
    torch.optim.SGD(smaller.module.parameters(), lr=1e-3).step()
    return {path for group in offer.groups for path in group.layers} | set(offer.stay)


RECIPE = """
model python("{file}:{name}")
data digits
train for 1 step
{statement}
measure params
"""


@pytest.fixture
def prepared(recipe: Any) -> Callable[[str, str, str], list[str]]:
    """Writes the recipe of a network and a statement; the arguments with which it is run."""

    def write(file: str, name: str, statement: str) -> list[str]:
        for each in FOLDER.glob("*.py"):
            (recipe.folder / each.name).write_text(each.read_text())
        (recipe.folder / "odd.rcp").write_text(RECIPE.format(file=file, name=name, statement=statement))
        return ["odd.rcp", "--trust"]

    return write


#: (network, statement, what the refusal says): all of it is known before the first step of training
EARLY = {
    "a branch": (
        "flow.py", "branch_on_values", "prune filters by magnitude until params < 0.9",
        "error[RCP0718]: the network cannot be traced: its code decides by the values of tensors, `return x if",
    ),
    "a size": (
        "flow.py", "selected_by_mask", "prune neurons by taylor until params < 0.9",
        "error[RCP0718]: the network cannot be traced: how many numbers `index` gives depends on their values",
    ),
    "no norm": (
        "wrappers.py", "without_norm", "prune filters by bn until params < 0.9", "error[RCP0916]: `bn` needs BatchNorm",
    ),
    "computed weights": (
        "weights.py", "only_computed", "prune filters by magnitude until params < 0.9",
        "error[RCP0916]: `magnitude` needs a weight that is a parameter, and none makes the filters",
    ),
    "called twice": (
        "cells.py", "called_twice", "prune 1 layer by magnitude", "`block`: it runs 3 times in one pass",
    ),
}  # fmt: skip
EARLY_FIRST = "computed weights"


@pytest.mark.parametrize(
    "name", [EARLY_FIRST, *(pytest.param(n, marks=pytest.mark.slow) for n in EARLY if n != EARLY_FIRST)]
)
def test_what_cannot_work_is_refused_before_training(name: str, recipe: Any, prepared: Any) -> None:
    *network, said = EARLY[name]
    ended = recipe("run", *prepared(*network), "--smoke", "--out", "out")
    assert ended.code == 3 and said in ended.err, ended.err
    assert "Traceback" not in ended.err and "train" not in ended.out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "name", "statement"),
    [
        ("weights.py", "weight_norm", "prune filters by magnitude until params < 0.95"),
        ("cells.py", "cells_in_a_loop", "prune neurons by taylor until params < 0.99"),
        ("flow.py", "custom_autograd", "prune filters by fpgm until params < 0.9"),
        ("state.py", "lambda_layer", "prune 1 layer by imprint"),
        ("state.py", "counts_calls", "prune filters by magnitude until params < 0.9"),
        ("numeric.py", "half_parts", "prune filters by bn until params < 0.9"),
    ],
)
def test_a_recipe_of_an_odd_network(file: str, name: str, statement: str, recipe: Any, prepared: Any) -> None:
    ended = recipe("run", *prepared(file, name, statement), "--smoke", "--out", "out")
    assert ended.code == 0, ended.err
