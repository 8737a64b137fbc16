"""Ranges of all places together, by the loss of the whole network."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

import torch

from recipelang.images.batches import moved
from recipelang.kinds import Batch, Observed, Restriction
from recipelang.scoring.ablation import measured_on
from recipelang.stages.context import Context
from recipelang.surgery.network import Network
from recipelang.surgery.quantizing import Places, sought_activations, sought_weights
from recipelang.surgery.simulated import running
from recipelang.training.smoke import few
from recipelang.verbs.quantize import Quantize

#: what passes some places of a network, on the data of a context
Observe = Callable[[Context, Network, Collection[str]], Mapping[str, Observed]]


def jointly(
    operation: Quantize, context: Context, found: Places, observe: Observe
) -> tuple[dict[str, Restriction], Places]:
    """Place → its restriction, as a quantizer finds them that `needs` the loss; and the places that have one.

    Args:
        operation: with such a quantizer, and samples.
        found: the places that get grids.
        observe: what passes activations.
    """
    quantizer, samples = operation.estimator, operation.samples
    assert samples is not None  # the verb's: its quantizer looks at the network's answers
    sought = sought_weights(context.network, found.weights, operation.bits, quantizer)
    if found.activations:
        seen = observe(context, context.network, found.activations)
        wanted, found = found.wanting(quantizer, seen)
        sought |= sought_activations(wanted, operation.bits, quantizer, operation.hardware)
    count = few(samples.count, context.smoke)
    whole = replace(context.network, module=copy.deepcopy(context.network.module).to(context.device).eval())

    def loss(restrictions: Mapping[str, Restriction]) -> float:
        module = running(whole.restricted(restrictions))
        batches = (
            Batch(moved(inputs, context.device), moved(targets, context.device))
            for inputs, targets in context.data.batches(samples.split, samples=count, seed=context.seed)
        )
        with torch.no_grad():
            return measured_on(module, batches, context.task, context.data.labels).loss

    return dict(quantizer.joint(sought, loss, context.progress)), found
