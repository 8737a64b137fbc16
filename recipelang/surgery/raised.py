"""Exceptions raised by a user's network: errors in the user's code, not in this program."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import torch
from torch import nn

import recipelang
from recipelang.errors import Refusal
from recipelang.surgery.network import Network
from recipelang.surgery.tracing import first_line
from recipelang.trouble import machine_trouble

_HERE = Path(recipelang.__file__).parent
#: functions through which torch calls the code of a network and its derivative
_ENTRANCES = {f.__code__ for f in (nn.Module._call_impl, torch.autograd.backward, torch.autograd.grad)}


@contextmanager
def raised_by(network: Network, doing: str) -> Iterator[None]:
    """Turn what a user's network raises inside the block into a refusal.

    Args:
        network: the one that runs.
        doing: what is done with it, for the message: `train`.

    Raises:
        Refusal: RCP0733, with the exception's message and where in the user's files it was raised.
    """
    try:
        yield
    except Refusal:
        raise
    except Exception as error:
        frames, files = [frame for frame, _ in traceback.walk_tb(error.__traceback__)], network.source.get("files")
        if not files or not _is_theirs(frames) or machine_trouble(error):
            raise
        at = next((f" at {_place(frame)}" for frame in reversed(frames) if _in_files(frame, files)), "")
        raise Refusal(
            "RCP0733",
            f"the network raises an exception in `{doing}`{at}: {type(error).__name__}: {first_line(error)}",
            "fix the network's code; finished steps are stored, and the same command continues from there",
        ) from error


def _is_theirs(frames: list[FrameType]) -> bool:
    """Whether the exception came from a network: raised in a call of a module or a derivative, not by our hooks."""
    entered = any(frame.f_code in _ENTRANCES for frame in frames)
    return entered and not Path(frames[-1].f_code.co_filename).is_relative_to(_HERE)


def _in_files(frame: FrameType, files: Iterable[str]) -> bool:
    path = Path(frame.f_code.co_filename)
    return not path.is_relative_to(_HERE) and any(path.as_posix().endswith(f"/{file}") for file in files)


def _place(frame: FrameType) -> str:
    return f"line {frame.f_lineno} of `{Path(frame.f_code.co_filename).name}`"
