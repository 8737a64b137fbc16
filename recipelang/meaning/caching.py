"""In which trainings the answers of teachers can be kept: those that ask the same teachers about the same samples."""

from __future__ import annotations

from recipelang.kinds import Companion, Loss, OutputLoss
from recipelang.plan import Training


def why_not(training: Training) -> str:
    """Why the answers of a training's teachers cannot be kept, in words; "" where they can, as far as that is known
    without its data."""
    comparing = [term.loss for term in training.losses if term.loss is not None and term.loss.teachers[1]]
    if not comparing:
        return "`cached` keeps the answers of teachers, and the losses of this training compare with none"
    for loss in comparing:
        outside = type(loss).points in (Loss.points, OutputLoss.points) and set(loss.compares) <= {"outputs"}
        if getattr(loss, "peers", False):
            return f"`{loss.name}` trains its teachers along, so that their answers change in every step"
        if getattr(loss, "chooses", False):
            return f"`{loss.name}` asks its teacher only about the samples on which the network errs"
        if getattr(loss, "input_gradients", False):
            return f"`{loss.name}` differentiates its teachers by the images, and `cached` keeps outputs alone"
        if not outside or getattr(loss, "attends", False):
            return f"`{loss.name}` compares more than outputs, and `cached` keeps the outputs of teachers alone"
    for companion in training.companions:
        if type(companion).batch is not Companion.batch:
            return f"`{companion.name}` changes the images in every step, and the teachers answered about others"
    return ""
