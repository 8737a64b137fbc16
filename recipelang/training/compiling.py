"""Compiled training: the network that trains as `torch.compile` makes it, in the place of its module."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.meaning.compiling import why_not
from recipelang.plan import Training
from recipelang.surgery.calls import leave_to_python
from recipelang.surgery.tracing import first_line

#: of `torch.compile`
BACKEND = "inductor"


def require_compilable(training: Training) -> None:
    """Refuse a compiled training with a part that works inside the running network, which compiled code does not see.

    Raises:
        Refusal: RCP1541.
    """
    if training.compiled and (why := why_not(training)):
        raise Refusal("RCP1541", why, "leave `compile` out")


@contextmanager
def compiled(module: nn.Module, training: Training) -> Iterator[Callable[[Tensor], Any] | None]:
    """What computes in the place of a module that trains; None where the training is not compiled.

    Args:
        module: on its device; afterwards it is as it was, and trained.

    Raises:
        Refusal: RCP1541; RCP1013, in the first step: this machine or this network cannot be compiled.
    """
    require_compilable(training)
    if not training.compiled:
        yield None
        return
    from torch._dynamo.exc import TorchDynamoException

    torch._dynamo.reset()  # after eight networks of one class torch would compile no further one, and not say so
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # a missing GPU is not worth a warning
    left = [part for part in module.modules() if "forward" not in vars(part)]
    leave_to_python(module)
    made: Any = torch.compile(module, backend=BACKEND)

    def run(inputs: Tensor) -> Any:
        try:
            return made(inputs)
        except TorchDynamoException as error:
            inner = getattr(error, "inner_exception", error)
            raise Refusal(
                "RCP1013",
                f"torch.compile cannot compile the network here: {type(inner).__name__}: {first_line(inner)}",
                "leave `compile` out; `recipe doctor` says what this machine lacks",
            ) from error

    try:
        yield run
    finally:
        for part in left:
            vars(part).pop("forward", None)
        torch._dynamo.reset()
