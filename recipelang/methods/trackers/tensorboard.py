"""`tensorboard(folder="")`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.files import expanded
from recipelang.kinds import Scalar, TrackedRun

#: of the output folder; a network's folder has no such name
FOLDER = "tensorboard.events"


@method("tracker", "tensorboard")
@dataclass(frozen=True)
class TensorBoard:
    """TensorBoard: event files that `tensorboard --logdir` shows.

    What: each network and seed is a run of its own, with the curves of trainings while they run, what every statement
        reached and took, and its measurements; the recipe's run has the comparison of all networks. Under HPARAMS are
        variants, seeds and values of sweeps beside the measurements, under TEXT the recipe and the report. Values are
        in base units: seconds, bytes, shares from 0 to 1.
    Needs: `pip install "recipelang[tensorboard]"`.
    When it misleads: one axis is used for different things: curves of `step/` count optimizer steps, other curves of a
        training its epochs, and numbers of statements the statements of their network.
    Source: https://www.tensorflow.org/tensorboard.
    """

    networks: ClassVar[bool] = False

    folder: str = setting(
        "",
        type="text",
        hashed=False,
        help="Where each run gets a folder of its own; default `tensorboard.events` in the output folder.",
    )

    def require(self) -> None:
        """Refuse a machine without TensorBoard.

        Raises:
            Refusal: RCP1027.
        """
        from recipelang.runtimes.installed import require_libraries

        require_libraries("tracking: tensorboard", ("tensorboard",), "tensorboard")

    def load(self) -> None:
        """Import what writes event files."""
        import torch.utils.tensorboard  # noqa: F401

    def placed(self, folder: Path) -> TensorBoard:
        """This tracker, with a relative folder starting at another.

        Raises:
            Refusal: RCP1214: the folder is not a path.
        """
        return replace(self, folder=str((folder / expanded(self.folder)).resolve())) if self.folder else self

    def begin(self, run: TrackedRun) -> _Session:
        """Begin the run; where it continues an interrupted one, its files are beside the ones of that.

        Raises:
            OSError: the folder cannot be written.
        """
        if not self.folder:
            folder = run.folder / FOLDER
        elif run.token:
            folder = Path(run.token)
        else:
            folder = _free(Path(self.folder), run.name)
        return _Session(folder, run)


def _free(folder: Path, name: str) -> Path:
    """The first of `name`, `name-2` and so on that is not there: runs of one folder do not mix."""
    place, number = folder / name, 1
    while place.exists():
        number += 1
        place = folder / f"{name}-{number}"
    return place


class _Session:
    """Event files of one run: a folder for each network."""

    def __init__(self, folder: Path, run: TrackedRun) -> None:
        self._folder, self._writers = folder, dict[str, Any]()
        self.token = str(folder)
        self.where = f"tensorboard --logdir {_near(folder)}"
        self.unended = ""  # a run of TensorBoard has no state
        if not run.token:
            self._writer("").add_text("recipe", _indented(run.text))
            rows = [f"| {name} | {_cell(value)} |" for name, value in {**run.params, **run.tags}.items()]
            self._writer("").add_text("settings", "\n".join(["| what | value |", "|---|---|", *rows]))
        self._writer("").flush()

    def metrics(self, network: str, points: Sequence[Scalar]) -> None:
        writer = self._writer(network)
        for point in points:
            writer.add_scalar(point.name, point.value, point.step, point.time, new_style=True)
        writer.flush()

    def network(
        self, network: str, params: Mapping[str, str], results: Mapping[str, float], tags: Mapping[str, str]
    ) -> None:
        from torch.utils.tensorboard.summary import hparams

        writer = self._writer(network)
        named = {f"results/{name}": value for name, value in results.items()}
        for summary in hparams(dict(params), named):
            writer.file_writer.add_summary(summary)
        for name, value in named.items():
            writer.add_scalar(name, value, 0, new_style=True)
        writer.flush()

    def file(self, path: Path, name: str, network: str = "") -> None:
        """The report in Markdown becomes a text; other files are in the output folder anyway."""
        if path.suffix == ".md":
            self._writer(network).add_text(path.stem, path.read_text(encoding="utf-8"))

    def finish(self, status: str) -> None:
        for writer in self._writers.values():
            writer.close()

    def _writer(self, network: str) -> Any:
        from torch.utils.tensorboard.writer import SummaryWriter

        if network not in self._writers:
            place = self._folder / re.sub(r"[^\w=.,-]+", "_", network or "recipe").lstrip(".")
            self._writers[network] = SummaryWriter(str(place))
        return self._writers[network]


def _near(folder: Path) -> Path:
    """A path as it is typed from the folder that one works in."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def _indented(text: str) -> str:
    """A recipe as Markdown."""
    return "\n".join(f"    {line}" for line in text.splitlines())


def _cell(value: str) -> str:
    return value.replace("|", "\\|").replace("\n", " ")
