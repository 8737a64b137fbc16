"""A network as a program of torch.export: for any number of images, and of any size where its task allows it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from recipelang.surgery.network import Network
from recipelang.surgery.parity import TOLERANCE, relative_difference
from recipelang.surgery.tasks import task_named

BATCH = "batch"


def traced(module: nn.Module, network: Network, example: Tensor) -> Any:
    """The program of the deployed form, traced on an example.

    Where answers are images, a network is used on images of other sizes than those of its training: height and width
    are left open too, if torch can trace it so and the program computes the same on another size.

    Args:
        module: the deployed form.
        network: whose form it is.
        example: an input, with the batch along axis 0.

    Raises:
        Exception: whatever torch.export raises for code that it cannot trace.
    """
    batch = {0: torch.export.Dim(BATCH, min=1)}
    if task_named(network.task).target == "image" and example.ndim == 4:
        try:
            size = {2: torch.export.Dim("height", min=2), 3: torch.export.Dim("width", min=2)}
            program = torch.export.export(module, (example,), dynamic_shapes=({**batch, **size},))
            if _alike(program.module(), module, nn.functional.pad(example, (0, 2, 0, 4), mode="replicate")):
                return program
        except Exception:  # of many kinds: it depends on the size, so the size is fixed
            pass
    return torch.export.export(module, (example,), dynamic_shapes=(batch,))


def _alike(program: nn.Module, module: nn.Module, images: Tensor) -> bool:
    with torch.no_grad():
        return relative_difference(program(images), module(images)) <= TOLERANCE
