"""Which trainings can be compiled: those in which nothing works inside the running network."""

from __future__ import annotations

from recipelang.kinds import Companion, Loss, OutputLoss
from recipelang.plan import Training


def why_not(training: Training) -> str:
    """Why a training cannot be compiled, in words; "" where it can, as far as that is known without the network."""
    for loss in (term.loss for term in training.losses if term.loss is not None):
        outside = type(loss).points in (Loss.points, OutputLoss.points) and set(loss.compares) <= {"outputs"}
        if loss.input_gradients:
            return f"`{loss.name}` differentiates gradients, which `compile` cannot"
        if not outside or loss.attends:
            return f"`{loss.name}` looks inside the network, and compiled code does not stop there"
    for companion in training.companions:
        if type(companion).computing is not Companion.computing:
            return f"`{companion.name}` changes how the network computes in each step, which compiled code does not see"
    return ""
