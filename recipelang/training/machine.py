"""How a training uses the machine: threads, precision, memory format, random numbers, and being interrupted."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

import torch
from torch import nn

from recipelang.errors import Refusal
from recipelang.plan import Training
from recipelang.surgery.candidates import CONVOLUTIONS
from recipelang.surgery.chance import random_numbers
from recipelang.surgery.layout import laid_out
from recipelang.surgery.network import Network
from recipelang.surgery.tracing import evaluating, example_input, hooked


def choose_precision(asked: str, device: str) -> str:
    """`float32` or `bfloat16`: `auto` chooses bfloat16 where the hardware supports it.

    Without such hardware bfloat16 is emulated and several times slower than float32.
    """
    if asked != "auto":
        return asked
    if torch.device(device).type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    able = torch.cpu.get_capabilities()
    return "bfloat16" if able.get("avx512_bf16") or able.get("amx_bf16") or able.get("bf16") else "float32"


def sound_precision(precision: str, network: Network, device: str) -> str:
    """The precision, or `float32` where gradients in `bfloat16` would be wrong.

    On CPUs, torch (oneDNN) leaves parts of the gradient of a kernel unwritten in bfloat16 where the input of a
    convolution is a single place and its kernel is larger: they hold whatever was in memory. One pass tells.

    Args:
        network: on the device; is not changed.
    """
    if precision != "bfloat16" or torch.device(device).type != "cpu":
        return precision
    module = network.module
    wide = [part for part in module.modules() if isinstance(part, CONVOLUTIONS) and max(part.kernel_size) > 1]
    single: list[bool] = []

    def look(_: nn.Module, given: tuple[Any, ...]) -> None:
        single.append(bool(given) and all(length == 1 for length in given[0].shape[2:]))

    if wide:
        hooks = (part.register_forward_pre_hook(look) for part in wide)
        # what a network cannot compute, its training says better
        with hooked(hooks), contextlib.suppress(Exception), evaluating(module), random_numbers(0):
            module(example_input(network))
    return "float32" if any(single) else precision


def precision_of(training: Training, asked: str, network: Network, device: str) -> str:
    """The precision of a training: that of its recipe, else the one asked for.

    Args:
        asked: `auto`, `float32` or `bfloat16`.
        network: on the device; is not changed.

    Raises:
        Refusal: RCP1542: the recipe says `bfloat16`, in which torch would compute wrong gradients here.
    """
    if training.precision == "auto":
        return sound_precision(choose_precision(asked, device), network, device)
    if sound_precision(training.precision, network, device) != training.precision:
        raise Refusal(
            "RCP1542",
            "on a CPU, torch computes wrong gradients in bfloat16 for this network: a convolution over several places "
            "is given a single one",
            "leave `bfloat16` out, or give the network larger images",
        )
    return training.precision


def precision_note(training: Training, device: str) -> str:
    """What is said of a precision that a recipe asks for and the device has no units for; "" where there is nothing."""
    slow = training.precision == "bfloat16" and choose_precision("auto", device) != "bfloat16"
    return f"bfloat16 is emulated on this {'GPU' if device.startswith('cuda') else 'CPU'}, and slow" if slow else ""


def autocast(device: str, precision: str) -> torch.autocast:
    """Run matrix products and convolutions in this precision; weights stay float32."""
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bfloat16")


def to_device(module: nn.Module, device: str) -> nn.Module:
    """The module on the device, in place; convolutions with channels last."""
    return laid_out(module.to(device))


@contextlib.contextmanager
def reproducible(seed: int, device: str, threads: int | None) -> Iterator[None]:
    """Seeded random numbers, a fixed number of threads and deterministic convolutions; all restored afterwards.

    Python's and numpy's generators are seeded too: a network may use them in training.
    """
    before = torch.get_num_threads()
    cuda = torch.device(device).type == "cuda"
    place = torch.device("cuda", torch.device(device).index or 0) if cuda else None
    cudnn: Any = torch.backends.cudnn.flags(deterministic=True, benchmark=False) if cuda else contextlib.nullcontext()
    with random_numbers(seed, place), cudnn:
        try:
            if threads and threads != before:
                torch.set_num_threads(threads)
            yield
        finally:
            if torch.get_num_threads() != before:
                torch.set_num_threads(before)


class Interrupts:
    """Delays Ctrl-C and SIGTERM until a step is complete, so that no half-done step is saved.

    A second signal takes effect at once.

    Use as a context manager and ask `asked` after each step. Outside the main thread it does nothing.
    """

    signals = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in self.signals}
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self.asked and kind is None:  # it came after the last check
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
