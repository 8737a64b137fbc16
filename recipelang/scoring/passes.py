"""One pass over the data for all that look at it: forward, and backward where something asks for gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from recipelang.kinds import Batch
from recipelang.scoring.together import asked
from recipelang.surgery.finite import finite


def _nothing(*_: Any) -> Any:
    return nullcontext()


@dataclass(frozen=True)
class Collector:
    """Something that looks at a pass.

    Attributes:
        what: it does, for the progress: "gathering gradients".
        running: batch → a block in which the network runs; hooks and modes are active inside.
        differentiating: a block in which the loss is differentiated; None where gradients are of no interest.
        tensors: name → parameter whose gradient is computed; it needs none before and after.
        given: called after each batch with the gradients of `tensors`; those that the loss does not depend on are left
            out.
        rounded: whether it looks at the network with its weights as they are rounded; weights are not recognised there.
        recognises: whether it looks at products with weights, so that they are not rounded for its gradients either.
        alone: runs the network on the inputs of a batch where nothing else looks: it may stop when all was seen.
    """

    what: str
    running: Callable[[Batch], AbstractContextManager[Any]] = _nothing
    differentiating: Callable[[], AbstractContextManager[Any]] | None = None
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    given: Callable[[Mapping[str, Tensor]], Any] = _nothing
    rounded: bool = False
    recognises: bool = False
    alone: Callable[[Any], Any] | None = None

    @property
    def simulated(self) -> bool:
        """Whether a network that rounds its weights does so in the pass."""
        return self.rounded or (self.differentiating is not None and not self.recognises)


@dataclass(frozen=True)
class Request:
    """A pass that a criterion asks for.

    Attributes:
        split: that is read. `samples`: how many of it; None: all of them.
        collector: what looks at it.
        passes: reads this split of the data and runs the network: the same object for the same network and data.
    """

    split: str
    samples: int | None
    collector: Collector
    passes: Any


def serve(requests: Sequence[Any]) -> None:
    """Serve what criteria ask for at the same time (`together`): requests, None for one who waits for what another's
    request gathers, or a list of them from criteria within a criterion, which joins what others ask.

    One pass for all requests of the same split; where the network computes with rounded weights, one more for those
    that look at what it computes with them."""
    if asked(requests):
        return
    groups: dict[Any, list[Request]] = {}
    for request in _flat(requests):
        apart = request.passes.simulates and request.collector.simulated
        groups.setdefault((id(request.passes), request.split, request.samples, apart), []).append(request)
    for alike in groups.values():
        first = alike[0]
        first.passes.read(first.split, first.samples, [each.collector for each in alike])


def _flat(requests: Sequence[Any]) -> Iterator[Request]:
    for request in requests:
        if isinstance(request, list):
            yield from _flat(request)
        elif request is not None:
            yield request


def one_pass(
    collectors: Sequence[Collector],
    batches: Callable[[str], Iterable[Batch]],
    run: Callable[[Any], Any],
    loss: Callable[[Batch], Tensor],
) -> None:
    """Read the batches once; all collectors look at each.

    Args:
        collectors: of one split.
        batches: of that split; the string says what the pass is for.
        run: inputs → outputs of the network.
        loss: of a batch, mean over its samples; called instead of `run` where gradients are computed.

    Raises:
        Refusal: RCP1005: the loss is NaN or infinite.
    """
    tensors = {id(tensor): tensor for each in collectors for tensor in each.tensors.values()}
    differentiating = [each.differentiating for each in collectors if each.differentiating is not None]
    if len(collectors) == 1 and collectors[0].alone is not None:
        run = collectors[0].alone
    first, *others = dict.fromkeys(each.what for each in collectors)
    with _needing_gradients(tensors.values()):
        for batch in batches(f"{first} and more" if others else first):
            inputs = tree_map(_leaf, batch.inputs) if differentiating else batch.inputs
            with ExitStack() as stack:
                stack.enter_context(torch.set_grad_enabled(bool(differentiating)))
                for each in collectors:
                    stack.enter_context(each.running(batch))
                made = loss(Batch(inputs, batch.targets)) if differentiating else run(inputs)
            if not differentiating:
                continue
            finite("the loss", made, "RCP1005")
            images = [leaf for leaf in tree_leaves(inputs) if isinstance(leaf, Tensor) and leaf.requires_grad]
            with ExitStack() as stack:
                for block in differentiating:
                    stack.enter_context(block())
                found = torch.autograd.grad(made, [*tensors.values(), *images], allow_unused=True)
            known = {key: gradient for key, gradient in zip(tensors, found, strict=False) if gradient is not None}
            for each in collectors:
                each.given({name: known[id(w)] for name, w in each.tensors.items() if id(w) in known})


@contextmanager
def _needing_gradients(tensors: Iterable[Tensor]) -> Iterator[None]:
    known = list(tensors)
    for tensor in known:
        tensor.requires_grad_(True)
    try:
        yield
    finally:
        for tensor in known:
            tensor.requires_grad_(False)


def _leaf(value: Any) -> Any:
    """Images with respect to which gradients can be computed, so that they exist everywhere that an image reaches."""
    if isinstance(value, Tensor) and value.is_floating_point():
        return value.detach().requires_grad_(True)
    return value
