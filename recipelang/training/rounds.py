"""The part of a training that belongs to one of several rounds."""

from __future__ import annotations

from dataclasses import replace

from recipelang.plan import Duration, Training


def share(training: Training, turn: int, rounds: int) -> Training:
    """A round's part of the total. Epochs are whole where there are enough of them.

    Args:
        training: of all rounds.
        turn: the round, from 1.
        rounds: how many there are.
    """
    total = training.duration.count
    if training.duration.unit == "steps" or (float(total).is_integer() and total >= rounds):
        part = float(int(total * turn // rounds) - int(total * (turn - 1) // rounds))
    else:
        part = total / rounds
    return replace(training, duration=Duration(part, training.duration.unit))
