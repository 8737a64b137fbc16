"""The answers of teachers about all training samples, kept in files that are mapped into memory."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from recipelang.errors import Refusal
from recipelang.files import write_text

#: what says that the answers beside it are complete
TOLD = "answers.json"


class Answers:
    """What the teachers answered, looked up by the numbers of samples.

    Args:
        arrays: for each teacher, float32 N×…
        seconds: that the teachers took.
    """

    def __init__(self, arrays: Sequence[np.ndarray], seconds: float) -> None:
        self.arrays, self.seconds = tuple(arrays), seconds
        self._spent, self._batches = 0.0, 0

    def of(self, teacher: int, samples: Tensor, device: str) -> Tensor:
        """The answers of a teacher, by number, about some samples (int64 B), on a device."""
        return torch.from_numpy(self.arrays[teacher][samples.numpy()]).to(device)

    @property
    def bytes(self) -> int:
        """Their size."""
        return sum(array.nbytes for array in self.arrays)

    @contextmanager
    def timing(self, batches: int) -> Iterator[None]:
        """Inside the block a step of this many batches is taken."""
        begun = time.perf_counter()
        yield
        self._spent, self._batches = self._spent + time.perf_counter() - begun, self._batches + batches

    def told(self, images: int, batch: int, teachers: float | None) -> str:
        """What they cost and saved.

        Args:
            images: that the training had seen at its end. `batch`: of one batch.
            teachers: seconds that the teachers take for a sample, measured after the training; None: not known.
        """
        answered = f"`cached`: the teachers answered about {len(self.arrays[0]):,} samples in {self.seconds:.3g} s, "
        kept = f"{answered}kept in {self.bytes / 1e6:.3g} MB"
        if teachers is None or not self._batches:
            return kept
        step = self._spent / self._batches
        saved = teachers * images - self.seconds
        whole = f"saved about {saved:.3g} s" if saved >= 0 else f"took about {-saved:.3g} s more than it saved"
        with_teachers = step + teachers * batch
        return f"{kept}; a batch took {step:.3g} s, would have taken {with_teachers:.3g} s with them, and this {whole}"


class Writing:
    """Answers that are being written.

    Args:
        folder: where; what another training left there is removed.
        samples: of how many samples.
        most: bytes that they may have.
    """

    def __init__(self, folder: Path, samples: int, most: int) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder, self.samples, self.most = folder, samples, most
        self._arrays: list[np.ndarray] = []

    def put(self, samples: Tensor, answers: Sequence[Tensor]) -> None:
        """The answers of all teachers about some samples (int64 B).

        Raises:
            Refusal: RCP1524: there is no room for those about all samples.
        """
        if not self._arrays:
            shapes = [(self.samples, *answer.shape[1:]) for answer in answers]
            size = sum(4 * int(np.prod(shape)) for shape in shapes)
            require_room(size, self.most)
            if size > (free := shutil.disk_usage(self.folder).free):
                message = f"the answers of the teachers need {size / 1e9:.3g} GB, and the disk has {free / 1e9:.3g} GB"
                raise Refusal("RCP1524", message, "leave `cached` out, or make room on the disk of the store")
            self._arrays = [
                np.lib.format.open_memmap(_file(self.folder, n), "w+", np.float32, shape)
                for n, shape in enumerate(shapes)
            ]
        for array, answer in zip(self._arrays, answers, strict=True):
            array[samples.numpy()] = answer.detach().float().cpu().numpy()

    def done(self, identity: str, seconds: float) -> None:
        """All are there: a later call of `found` with the same identity finds them."""
        for array in self._arrays:
            array.flush()  # type: ignore[attr-defined]  # of a memmap
        told = {"identity": identity, "seconds": seconds, "teachers": len(self._arrays)}
        write_text(self.folder / TOLD, json.dumps(told))


def found(folder: Path, identity: str) -> Answers | None:
    """The answers in a folder, if they are complete and of this training."""
    try:
        told = json.loads((folder / TOLD).read_text("utf-8"))
        if told["identity"] != identity:
            return None
        arrays = [np.load(_file(folder, n), mmap_mode="r") for n in range(told["teachers"])]
    except (OSError, ValueError, KeyError):
        return None
    return Answers(arrays, told["seconds"])


def require_room(size: int, most: int) -> None:
    """Refuse answers of more bytes than a recipe allows.

    Raises:
        Refusal: RCP1524.
    """
    if size > most:
        raise Refusal(
            "RCP1524",
            f"the answers of the teachers need {size / 1e9:.3g} GB, and `cached` may keep {most / 1e9:.3g} GB",
            f"write `cached(gigabytes={np.ceil(size / 1e8) / 10:g})` if the disk has them, or leave `cached` out",
        )


def _file(folder: Path, teacher: int) -> Path:
    return folder / f"{teacher}.npy"
