"""Trying kernels on one problem: each result is verified before its time counts."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from recipelang.errors import Refusal
from recipelang.kernels.nm.device import answers
from recipelang.kernels.nm.format import Packed, unpack
from recipelang.kernels.nm.problem import Kernel, Problem, activate

#: Rounds in which every candidate is timed in turn, and further rounds for those close to the best.
FIRST_ROUNDS, ROUNDS = 3, 12
#: A candidate this much slower than the best after the first rounds is no longer timed.
HOPELESS = 1.3
#: Runs that must all agree with the reference: some vendor kernels are wrong only sometimes.
VERIFIED_RUNS = 3
#: Maximum rows compared with the reference: in float64 all pixels of a batch would not fit into memory.
VERIFIED_ROWS = 4096
#: Allowed root mean square of the errors, as a part of what a single element may be off.
ON_AVERAGE = 0.2


@dataclass(frozen=True)
class Trial:
    """One kernel in one configuration.

    Attributes:
        kernel: its name.
        configuration: as the kernel understands it.
        seconds: median of one call; None where it was not timed.
        refused: why it was not timed; "" where it was.
    """

    kernel: str
    configuration: Mapping[str, int]
    seconds: float | None
    refused: str = ""

    def json(self) -> dict[str, Any]:
        """As stored in a table."""
        return asdict(self)


class Timer(Protocol):
    """Measures the time of a call; tests replace it with a synthetic one."""

    def sampler(self, calls: Sequence[Callable[[], Tensor]]) -> Callable[[], float]:
        """A function that runs the calls (the same product with different copies of the weight) and returns the mean
        seconds of one."""


def try_all(
    problem: Problem,
    packed: Packed,
    kernels: Sequence[Kernel],
    timer: Timer,
    device: torch.device,
    copies: int = 1,
) -> tuple[Trial, ...]:
    """Every kernel in every configuration: refused, wrong, or timed in turns with the others.

    Args:
        problem: what is computed.
        packed: the weight.
        kernels: the candidates, dense among them.
        timer: measures times.
        device: where it runs.
        copies: of each weight, read in rotation, so that it comes from memory as it does in a large network.

    Raises:
        Refusal: RCP1307: a kernel has broken the device for this process.
    """
    packed = packed.to(device)  # what kernels read is derived there immediately
    x, bias = _inputs(problem, packed)
    seen = _spread(problem.rows).to(device)
    expected, allowed = reference(problem, packed, x[seen], bias)
    refused: list[Trial] = []
    samplers: list[tuple[Trial, Callable[[], float]]] = []
    for kernel in kernels:
        if reason := kernel.why_not(problem):
            refused.append(Trial(kernel.name, {}, None, reason))
            continue
        try:
            first = kernel.operands(packed, problem.dtype, device)
            operands = [first, *(tuple(part.clone() for part in first) for _ in range(copies - 1))]
        except Exception as error:  # vendors' kernels and compilers may raise anything
            if not answers(device):
                raise _broken(kernel.name, {}, device, error) from error
            refused.append(Trial(kernel.name, {}, None, _raised(error)))
            continue
        for configuration in kernel.configurations(problem):
            calls = [lambda k=kernel, o=o, c=configuration: k.run(x, o, bias, problem, c) for o in operands]
            try:
                # Dense runs where nothing else does: it is the baseline and is not verified.
                results = (_whole(calls[0](), problem, seen) for _ in range(VERIFIED_RUNS))
                if kernel.sparse and not all(agrees(y, expected, allowed) for y in results):
                    refused.append(Trial(kernel.name, configuration, None, "its result was wrong"))
                    continue
                samplers.append((Trial(kernel.name, configuration, None), timer.sampler(calls)))
            except Exception as error:  # as above
                if not answers(device):
                    raise _broken(kernel.name, configuration, device, error) from error
                refused.append(Trial(kernel.name, configuration, None, _raised(error)))
    return (*_timed(samplers), *refused)


def reference(problem: Problem, packed: Packed, x: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """The result in float64 (rows×outputs), and the error allowed to a correct kernel for each element.

    A kernel rounds its result to `problem.dtype`, perhaps once more before the bias: half a unit of what is rounded.
    It may also add up parts of the inputs in that format (torch allows cuBLAS to do so). A part is of the size of
    √(Σ x²·w²), the typical size of the sum, and 32 of them leave a standard deviation of 0.9 units of that; six such
    deviations occur once in 10⁹ elements. Sums in float32 grow by a unit of float32 · √inputs.
    """
    weight, x = unpack(packed, torch.float64), x.double()
    plain = functional.linear(x, weight, None if bias is None else bias.double())
    typical = (x.square() @ weight.square().T).sqrt()
    rounded = plain.abs() if bias is None else plain.abs() + bias.double().abs()
    unit, summed = torch.finfo(problem.dtype).eps, torch.finfo(torch.float32).eps * problem.inputs**0.5
    allowed = 2 * unit * (rounded + 3 * typical) + 2 * summed * typical + 1e-7
    return activate(plain, problem.activation), allowed


def agrees(y: Tensor, expected: Tensor, allowed: Tensor) -> bool:
    """Whether every element is within its allowed error, and all together within a fifth of that.

    Rounding goes both up and down, so that few elements come near the limit; what is wrong by a factor is off
    everywhere. NaN never agrees.
    """
    if y.shape != expected.shape:
        return False
    off = (y.double() - expected).abs()
    return bool((off <= allowed).all() & (off.norm() <= ON_AVERAGE * allowed.norm()))


def _spread(rows: int) -> Tensor:
    """The indices of the rows that are verified: the first, the last, and others at every place in a tile between."""
    return torch.linspace(0, rows - 1, min(rows, VERIFIED_ROWS), dtype=torch.float64).round().long()


def _whole(y: Tensor, problem: Problem, seen: Tensor) -> Tensor:
    """The rows of a result that are verified; the result itself, which cannot agree, where its shape is wrong."""
    return y[seen] if y.shape == (problem.rows, problem.outputs) else y


def _inputs(problem: Problem, packed: Packed) -> tuple[Tensor, Tensor | None]:
    """Normal numbers, the same at every call, scaled so that results are of the size of 1, where activations differ."""
    device, generator = packed.values.device, torch.Generator().manual_seed(0)
    x = torch.randn(problem.rows, problem.inputs, generator=generator).to(device)
    bias = torch.randn(problem.outputs, generator=generator).to(device, problem.dtype)
    size = (unpack(packed, torch.float32).square().sum() / problem.outputs).sqrt()
    return (x / size.clamp(1e-3, 1e3)).to(problem.dtype), bias if problem.bias else None


def _timed(samplers: Sequence[tuple[Trial, Callable[[], float]]]) -> tuple[Trial, ...]:
    """In turns, so that all see the same machine; medians."""
    samples: list[list[float]] = [[] for _ in samplers]

    def rounds(count: int, which: Sequence[int]) -> None:
        for _ in range(count):
            for i in which:
                samples[i].append(samplers[i][1]())

    rounds(FIRST_ROUNDS, range(len(samplers)))
    if samplers:
        best = min(statistics.median(taken) for taken in samples)
        # The first one is dense: its distance to the best is what matters.
        near = [i for i, taken in enumerate(samples) if i == 0 or statistics.median(taken) <= HOPELESS * best]
        rounds(ROUNDS, near)
    return tuple(
        Trial(trial.kernel, trial.configuration, statistics.median(taken))
        for (trial, _), taken in zip(samplers, samples, strict=True)
    )


def _broken(kernel: str, configuration: Mapping[str, int], device: torch.device, error: Exception) -> Refusal:
    tiles = "".join(f" {name}={value}" for name, value in configuration.items())
    what = _raised(error).removeprefix("it failed: ")
    return Refusal(
        "RCP1307",
        f"the kernel `{kernel}`{tiles} broke `{device}` during a trial: {what}",
        "start again without it, as in `accelerate with cusparselt, dense`; please report it",
    )


def _raised(error: BaseException) -> str:
    """The first line of what a kernel raised."""
    lines = str(error).strip().splitlines()
    return f"it failed: {type(error).__name__}{': ' + lines[0][:160] if lines else ''}"
