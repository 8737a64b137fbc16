"""recipelang: text that reads like a lab protocol becomes a smaller network and a record of how it was made.

    recipe run -e 'prune layers by imprint until latency<0.7; sparsify nm 2:4; distill from healthy, recovered'

From Python one needs a single function: `recipelang.load(folder)` gives a compressed network ready to predict.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def load(
    folder: str | Path, *, trust: bool = False, device: str = "cpu", precision: str = "float32", batch: int = 1
) -> Any:
    """The compressed network in `folder` (`OUT/main` of a run), rebuilt, in evaluation mode, ready to predict.

    Nothing is unpickled and nothing is downloaded.

    Args:
        folder: a folder with `model.json`, `surgery.json`, `restrictions.safetensors` and `model.safetensors`.
        trust: whether the Python file of a `python("file.py:build")` network may run.
        device: `cpu`, `cuda` or `cuda:1`.
        precision: `float32`, `float16` or `bfloat16`. On a GPU, 2:4 layers that the recipe accelerates execute as
            sparse in the last two, where that is faster.
        batch: images that are usually given at once: kernels are chosen for it.

    Raises:
        Refusal: a file is missing, altered or inconsistent with the others, or this machine lacks the device.
    """
    from recipelang.files import expanded
    from recipelang.predictor import load as load_predictor  # loads torch: only when asked for

    return load_predictor(expanded(str(folder)), trust=trust, device=device, precision=precision, batch=batch)


def load_ipython_extension(shell: Any) -> None:
    """What `%load_ext recipelang` calls: cells that begin with `%%recipe` are recipes."""
    from recipelang.notebook.magic import register

    register(shell)


def unload_ipython_extension(shell: Any) -> None:
    """What `%unload_ext recipelang` calls."""
    from recipelang.notebook.magic import withdraw

    withdraw(shell)
