"""The length of a training that spends another network's FLOPs, counted by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recipelang.kinds import Moment
from recipelang.meaning import schedules
from recipelang.methods.losses.task import TaskLoss
from recipelang.methods.optimizers.sgd import Sgd
from recipelang.methods.ramps.cosine import Cosine
from recipelang.methods.ramps.linear import Linear
from recipelang.methods.ramps.multistep import Multistep
from recipelang.plan import Duration, Needs, Stretched, Term, Training, lengthened
from recipelang.surgery.network import Network
from recipelang.surgery.restrictions.mask import Mask
from recipelang.training.spending import cost, flops, foreseen, settled

#: twice the multiply-accumulates of the network in conftest, for one 3×8×8 image
FIRST, SECOND, LAST = 2 * 64 * 8 * 3 * 9, 2 * 9 * 8 * 8 * 9, 2 * 72 * 3


def masked(network: Network, part: float) -> Network:
    """The second convolution with this part of its weights held at zero."""
    weight = network.module.get_parameter("4.weight")
    keep = torch.arange(weight.numel()).reshape(weight.shape) >= round(part * weight.numel())
    return network.restricted({"4.weight": Mask("weights", keep)})


def test_flops_are_those_of_products_with_weights_that_are_kept(network: Network) -> None:
    assert flops(network) == FIRST + SECOND + LAST
    assert flops(masked(network, 0.75)) == FIRST + SECOND / 4 + LAST
    assert cost(masked(network, 0.75), network) == (FIRST + SECOND / 4 + LAST) / (FIRST + SECOND + LAST)


def test_a_training_is_as_much_longer_as_an_image_takes_less(network: Network) -> None:
    training = Training(Duration(8), Sgd(lr=Cosine(0.1)))
    needs = Needs(training=training, spends="healthy")
    sparse = masked(network, 0.75)
    longer = settled(needs, sparse, network).training
    assert longer is not None
    assert longer.duration.count * flops(sparse) == pytest.approx(8 * flops(network))
    assert longer.duration.unit == "epochs"
    assert f"trains for {longer.duration}, as many FLOPs as healthy in 8 epochs" in foreseen(needs, sparse, network)[0]
    # nothing is known of the other network yet, or nothing is asked for
    assert settled(needs, sparse, None) is needs
    assert "known by running" in foreseen(needs, sparse, None)[0]
    assert settled(Needs(training=training), sparse, network).training == training
    assert foreseen(Needs(training=training), sparse, network) == ()


RAMPS = st.sampled_from(
    [Cosine(0.1, to=0.01), Linear(1.0, to=0.0), Multistep(0.1, at=(2, 5)), Multistep(0.1, at=(3,), warmup=Duration(1))]
)


@given(RAMPS, st.integers(2, 5), st.integers(0, 39))
def test_a_stretched_ramp_has_the_value_of_the_same_part_of_the_training(ramp: Multistep, by: int, step: int) -> None:
    written, longer = Moment(step, 40, 5), Moment(step * by, 40 * by, 5)
    value = longer.value(Stretched(ramp, by))
    if getattr(ramp, "warmup", None) and step < 5:  # one value a step: the longer warm-up has more of them
        assert 0 < value <= written.value(ramp)
    else:
        assert value == pytest.approx(written.value(ramp))


def test_ramps_of_the_optimizer_and_of_losses_are_stretched_and_their_moments_too() -> None:
    ramp = Multistep(0.1, at=(2, 5))
    training = Training(Duration(6), Sgd(lr=ramp, momentum=0.9), (Term(ramp, TaskLoss()), Term(0.5, TaskLoss())))
    longer = lengthened(training, 1.5)
    assert longer.duration == Duration(9.0)
    assert longer.optimizer == replace(training.optimizer, lr=Stretched(ramp, 1.5))
    assert [term.weight for term in longer.losses] == [Stretched(ramp, 1.5), 0.5]
    assert [mark.when.count for mark in Stretched(ramp, 1.5).marks()] == [3, 7.5]
    for by in (0.5, 1.0, 3.0):  # what is within the written training is within the longer one
        schedules.fit(lengthened(training, by), 10)
