"""Random numbers from all three generators that a user's code may use: Python's, numpy's and torch's."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy
import torch


@contextmanager
def random_numbers(seed: int | None = None, device: torch.device | None = None) -> Iterator[None]:
    """Inside, the generators of Python, numpy and torch start at `seed`; afterwards they are as before.

    Args:
        seed: None leaves their state as it is.
        device: a GPU whose generator is restored too.
    """
    python, arrays = random.getstate(), numpy.random.get_state()
    try:
        with torch.random.fork_rng(devices=[device] if device is not None and device.type == "cuda" else []):
            if seed is not None:
                random.seed(seed)
                numpy.random.seed(seed % 2**32)
                torch.manual_seed(seed)
            yield
    finally:
        random.setstate(python)
        numpy.random.set_state(arrays)


def written() -> str:
    """The state of Python's and numpy's generators, as JSON; torch has a tensor for its own."""
    arrays: Any = numpy.random.get_state(legacy=False)
    state = {**arrays["state"], "key": arrays["state"]["key"].tolist()}
    return json.dumps([random.getstate(), {**arrays, "state": state}])


def restore(text: str) -> None:
    """Restore Python's and numpy's generators to a state that `written` returned."""
    (version, numbers, gauss), arrays = json.loads(text)
    random.setstate((version, tuple(numbers), gauss))
    numpy.random.set_state(arrays)


def drawn() -> tuple[object, ...]:
    """The state of the generators: two equal values mean that nothing was drawn in between."""
    arrays = numpy.random.get_state(legacy=False)
    state = arrays["state"]
    return random.getstate(), state["key"].tobytes(), state["pos"], torch.get_rng_state().numpy().tobytes()
