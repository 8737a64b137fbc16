"""`accelerate` as a stage: which layers it accelerates, what it reports about them, and what it refuses."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
from torch import Tensor, nn, tensor

from recipelang.catalogue import names
from recipelang.errors import Refusal
from recipelang.kinds import Scheme
from recipelang.kinds.figure import words
from recipelang.methods.kernels.dense import Dense
from recipelang.methods.patterns.nm import NM
from recipelang.methods.runtimes.torch import Torch
from recipelang.plan import Selection, Selector
from recipelang.stages import accelerate
from recipelang.stages.context import Context, Outcome
from recipelang.surgery.masks import eligible, sparsify
from recipelang.surgery.network import Accelerated, Network
from recipelang.surgery.restrictions.grid import Grid
from recipelang.verbs.accelerate import Accelerate


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2)
        return cast(Tensor, self.head(self.mix(tokens, tokens, tokens)[0].mean(1)))


class OneLayer(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1))


def sparse(module: nn.Module, selection: Selection | None = None) -> Network:
    network = Network(module.eval(), {}, (1, 2, 4))
    names, _ = eligible(network, NM(), selection)
    weights = dict(module.named_parameters())
    return sparsify(network, NM(), {name: weights[name].detach().abs() for name in names})


def run(network: Network, operation: Accelerate | None = None) -> Outcome:
    context = cast(Context, SimpleNamespace(network=network))
    return accelerate.run(operation or Accelerate((Dense(),)), context)


def settings(outcome: Outcome) -> Accelerated:
    assert outcome.network.accelerated is not None
    return outcome.network.accelerated


def test_every_sparse_weight_is_counted_also_of_attention() -> None:
    outcome = run(sparse(Attention()))
    assert words(outcome.reached) == "3 layers masked only"
    assert settings(outcome).layers == ("head", "mix", "mix.out_proj")


def test_a_network_that_is_one_layer_is_taken() -> None:
    outcome = run(sparse(OneLayer(8, 4)))
    assert words(outcome.reached) == "1 layer masked only"


def test_a_second_accelerate_says_that_it_takes_the_place_of_the_first() -> None:
    first = run(sparse(Attention()))
    assert "replaces" not in first.note
    again = run(first.network, Accelerate(goal="memory", selection=Selection((Selector("glob", "head"),))))
    assert again.note.endswith("; it replaces an earlier `accelerate`")
    assert settings(again).layers == ("head",) and settings(again).goal == "memory"


def test_a_selection_without_a_sparse_layer_is_refused() -> None:
    head = Selection((Selector("glob", "head"),))
    with pytest.raises(Refusal, match="`in` and `except` select no sparse layer") as refused:
        run(sparse(Attention(), head), Accelerate(selection=Selection((Selector("glob", "mix"),))))
    assert refused.value.code == "RCP0915" and "`head`" in refused.value.help
    with pytest.raises(Refusal, match="there is no sparse layer to accelerate$"):
        run(Network(Attention().eval(), {}, (1, 2, 4)))


def quantized() -> Network:
    """With a grid on the weight of one layer."""
    network = Network(OneLayer(8, 4).eval(), {}, (1, 2, 4))
    scheme = Scheme(8, signed=True, symmetric=True, axis=None)
    return network.restricted({"weight": Grid.between(tensor(-1.0), tensor(1.0), scheme)})


def test_a_quantized_network_gets_all_runtimes_or_those_that_are_named() -> None:
    outcome = run(quantized(), Accelerate())
    assert settings(outcome).runtimes == names("runtime") and settings(outcome).layers == ()
    assert words(outcome.reached) == f"{len(names('runtime'))} runtimes whichever is fastest where the network is timed"
    named = run(quantized(), Accelerate(runtimes=(Torch(),)))
    assert settings(named).runtimes == ("torch",) and named.note == "torch"
    assert settings(run(sparse(Attention()), Accelerate())).runtimes == (), "nothing of a sparse network changes"


def test_kernels_and_memory_are_not_a_question_of_runtimes() -> None:
    for operation in (Accelerate((Dense(),)), Accelerate(goal="memory")):
        with pytest.raises(Refusal, match="there is no sparse layer"):
            run(quantized(), operation)
