"""Peak memory of one forward pass: live storages counted operation by operation, or a GPU's own counter."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from recipelang.errors import Refusal
from recipelang.surgery.tracing import evaluating, first_line


@dataclass(frozen=True)
class Peak:
    """What one forward pass holds in memory at most, in bytes.

    Attributes:
        held: weights, buffers, constants and the input, which are there all the time.
        made: results of operations at their peak.
        uncounted: layouts of tensors that have no storage to count, such as `torch.sparse_coo`.
    """

    held: int
    made: int
    uncounted: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """Both."""
        return self.held + self.made


def peak(module: nn.Module, example: Tensor) -> Peak:
    """The peak of one call, in evaluation mode without gradients; the same at every call.

    Every storage counts once from the operation that returns it until its last tensor is gone. At the end of an
    operation its inputs and outputs are there together.

    Args:
        module: left unchanged, with its modes.
        example: B×…, in the precision of the module; the caller holds it during the pass.

    Raises:
        Refusal: RCP0730: the network does not run while its operations are watched.
    """
    images, counter = example.clone(), _Live()
    counter.hold([*module.parameters(), *module.buffers(), images])
    gc.collect()
    try:
        with evaluating(module), counter:
            module(images)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # the module is the user's: whatever it raises is its answer
        raise Refusal(
            "RCP0730",
            f"the network's memory cannot be counted: {type(error).__name__}: {first_line(error)}",
            "leave `memory` out of `measure` and of conditions",
        ) from error
    return Peak(counter.held, counter.peak, tuple(counter.uncounted))


def peak_of_cuda(module: nn.Module, example: Tensor, before: int) -> int:
    """Bytes that torch's allocator has given out at the peak of one call, of what was not there `before`.

    Args:
        module, example: on one CUDA device.
        before: `torch.cuda.memory_allocated` of it, before the two were placed there.
    """
    device = example.device
    with evaluating(module):
        module(example)  # kernels are loaded and chosen in the first call
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        module(example)
        torch.cuda.synchronize(device)
    return torch.cuda.max_memory_allocated(device) - before


class _Live(TorchDispatchMode):
    """Counts the storages that are alive after every operation."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self.held = self.peak = 0
        self.uncounted: dict[str, None] = {}
        self._held: dict[int, StorageWeakRef] = {}
        self._made: dict[int, tuple[StorageWeakRef, int]] = {}

    def hold(self, tensors: Iterable[Tensor]) -> None:
        """Count storages that no operation of the pass has made."""
        for key, found, size in self._storages(tensors):
            if key not in self._held and key not in self._made:
                self._held[key] = found
                self.held += size

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.hold(leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor))
        outcome = func(*args, **kwargs)
        for key, found, size in self._storages(leaf for leaf in tree_leaves(outcome) if isinstance(leaf, Tensor)):
            if key not in self._held:
                self._made[key] = found, size  # again where an operation has enlarged it
        self._made = {key: made for key, made in self._made.items() if not made[0].expired()}
        self.peak = max(self.peak, sum(size for _, size in self._made.values()))
        return outcome

    def _storages(self, tensors: Iterable[Tensor]) -> Iterable[tuple[int, StorageWeakRef, int]]:
        """The storage of each tensor: its identity, a reference that does not keep it alive, and its bytes."""
        for tensor in tensors:
            if tensor.layout is not torch.strided:
                self.uncounted.setdefault(str(tensor.layout))
                continue
            storage = tensor.untyped_storage()
            found = StorageWeakRef(storage)
            yield found.cdata, found, storage.nbytes()
