"""A network that ends at a classifier which was trained behind one of its modules."""

from __future__ import annotations

import copy
from dataclasses import replace

import torch

from recipelang.surgery.edits import apply_edits
from recipelang.surgery.edits.exit import LeaveAt
from recipelang.surgery.exits import HEAD, Classifier, Exit, after, answered_at
from recipelang.surgery.network import Network
from recipelang.surgery.parity import OUTPUT, require_parity
from recipelang.surgery.tracing import evaluating, example_input


def ending_at(network: Network, exit: Exit, head: Classifier) -> Network:
    """The network without what comes after an exit; it answers what the classifier answers inside the whole one.

    Args:
        network: trained; is not changed.
        exit: where the classifier is.
        head: the classifier, trained along, on the CPU.

    Raises:
        Refusal: RCP0701: it has no such modules; RCP0702: its answer is not that of the classifier.
    """
    example = example_input(network)
    edit = LeaveAt(exit, after(network.module, exit.path, example))
    expected = answered_at(network.module, exit, head, example)
    smaller = apply_edits(network, [edit], check=False)
    smaller.module.get_submodule(HEAD).load_state_dict(head.state_dict())
    with evaluating(smaller.module), torch.no_grad():
        found = smaller.module(example)
    require_parity({OUTPUT: expected}, {OUTPUT: found}, str(edit))
    return replace(smaller, habits=replace(copy.copy(network.habits), answer=()))
