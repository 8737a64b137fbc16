"""The companions of a training: begun with it, asked at every step, and finished after it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from recipelang.kinds import Batch, Companion, Finished, Labels, Moment, Seen
from recipelang.surgery.network import Network


@dataclass(frozen=True)
class Companions:
    """Those of one training, in order, with their states.

    Attributes:
        network: the network that trains.
        running: each companion with its state.
    """

    network: Network
    running: tuple[tuple[Companion, nn.Module | None], ...]

    @property
    def states(self) -> dict[str, nn.Module]:
        """Name → state, of the companions that have one."""
        return {f"companion{n}": state for n, (_, state) in enumerate(self.running) if state is not None}

    def before_step(self, moment: Moment) -> None:
        """Before the network computes."""
        for companion, state in self.running:
            companion.before_step(self.network, state, moment)

    def batch(self, batch: Batch, labels: Labels | None, moment: Moment) -> Batch:
        """What the network and its teachers are given."""
        for companion, state in self.running:
            batch = companion.batch(self.network, batch, labels, state, moment)
        return batch

    @contextmanager
    def computing(self, moment: Moment) -> Iterator[None]:
        """Inside the block the network computes its outputs."""
        with ExitStack() as stack:
            for companion, state in self.running:
                stack.enter_context(companion.computing(self.network, state, moment))
            yield

    def penalties(self, seen: Seen, moment: Moment) -> list[Tensor]:
        """What is added to the loss."""
        found = (companion.penalty(seen, state, moment) for companion, state in self.running)
        return [penalty for penalty in found if penalty is not None]

    def before_update(self, optimizer: torch.optim.Optimizer, moment: Moment) -> None:
        """After the gradients, before the optimizer."""
        for companion, state in self.running:
            companion.before_update(self.network, optimizer, state, moment)

    def after_step(self, optimizer: torch.optim.Optimizer, moment: Moment) -> None:
        """After the optimizer."""
        for companion, state in self.running:
            companion.after_step(self.network, optimizer, state, moment)

    def after_validation(self, row: Mapping[str, Any]) -> None:
        """After the row of a history, where it has a validation."""
        if "validation" in row:
            for companion, state in self.running:
                companion.after_validation(self.network, state, row["validation"], row["epoch"])

    @property
    def end(self) -> bool:
        """Whether one of them ends the training here."""
        return any(companion.stops(state) for companion, state in self.running)

    def finish(self, network: Network) -> Finished:
        """The trained network, on the CPU, with what stays of its companions, and what they say of it."""
        ended = Finished(network)
        for companion, state in self.running:
            found = companion.finish(ended.network, state.cpu() if state is not None else None)
            ended = _joined(ended, found if isinstance(found, Finished) else Finished(found))
        return ended


def _joined(before: Finished, after: Finished) -> Finished:
    """What two companions leave, one after another."""
    return replace(
        after,
        decided=(*before.decided, *after.decided),
        reached=(*before.reached, *after.reached),
        edits=(*before.edits, *after.edits),
        ranking=(*before.ranking, *after.ranking),
        note="; ".join(filter(None, (before.note, after.note))),
    )


def begin(companions: tuple[Companion, ...], network: Network, moment: Moment, device: str) -> Companions:
    """Prepare the companions of a training.

    Args:
        companions: methods, in order; those that are ordinary come first, so that what others leave is left of the
            network that the training ends with.
        network: the network that trains, on the device.
        moment: its first step.
        device: where their states go.

    Raises:
        Refusal: the network has nothing for one of them to do.
    """
    for companion in companions:
        companion.require_network(network)
    ordered = sorted(companions, key=lambda companion: not companion.ordinary)
    begun = ((companion, companion.begin(network, moment)) for companion in ordered)
    running = ((companion, state.to(device).train() if state is not None else None) for companion, state in begun)
    return Companions(network, tuple(running))
