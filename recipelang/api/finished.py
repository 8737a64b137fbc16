"""A finished run: its networks, what was measured, and its report."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from recipelang.errors import Refusal
from recipelang.failures import one_exception
from recipelang.units import counted, show

if TYPE_CHECKING:
    from recipelang.given import Given
    from recipelang.predictor import Predictor
    from recipelang.report.context import ReportContext
    from recipelang.report.measured import Measured
    from recipelang.report.record import Variant


@dataclass(frozen=True)
class Network:
    """A network of a run.

    Attributes:
        name: `main`, `healthy`, or the name of the variant.
        kind: `healthy`, a `variant`, or a `control`: the same training without the surgery.
        folders: of its files, one for each seed, in order; () for `healthy`, and where a step failed.
        metrics: name → number with its interval, in base units (seconds, bytes, fractions of 1): the mean over seeds.
        parameters: name → value, at a point of a sweep.
        error: why it failed; "" if it did not.
    """

    name: str
    kind: Literal["healthy", "variant", "control"]
    folders: tuple[Path, ...]
    metrics: Mapping[str, Measured]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    _given: Mapping[str, Given] = field(default_factory=dict, repr=False, compare=False)

    @property
    def folder(self) -> Path | None:
        """Where its files are, those of the first seed; None where nothing was written."""
        return self.folders[0] if self.folders else None

    def load(
        self,
        *,
        seed: int = 0,
        model: Any = None,
        trust: bool = False,
        device: str = "cpu",
        precision: str = "float32",
        batch: int = 1,
    ) -> Predictor:
        """The network, in evaluation mode, ready to predict.

        Args:
            seed: which of the seeds of the recipe, counted from 0.
            model: of a network that a program gave, an nn.Module that is built in the same way; not needed in the
                process that made the run.
            trust, device, precision, batch: as of `recipelang.load`.

        Raises:
            RecipeError: there are no files of it, and as `recipelang.load`.
        """
        from recipelang.api.loading import loaded

        with one_exception():
            if not 0 <= seed < len(self.folders):
                why = self.error or (
                    "it is the network before the surgery, which the run keeps in its store alone"
                    if self.kind == "healthy"
                    else f"it has {counted(len(self.folders), 'seed')}"
                )
                raise Refusal("RCP0921", f"there is no network `{self.name}` of seed number {seed} to load: {why}")
            how: dict[str, Any] = {"trust": trust, "device": device, "precision": precision, "batch": batch}
            return loaded(self.folders[seed], model, dict(self._given), **how)

    def __repr__(self) -> str:
        told = ", ".join(f"{name}={_value(measured)}" for name, measured in self.metrics.items())
        return f"Network({self.name!r}, {self.kind}{', ' if told else ''}{told})"


@dataclass(frozen=True)
class Result:
    """The result of a run; a notebook shows it as the report.

    Attributes:
        folder: the output folder of the run, with its networks and reports.
        record: `report.json`, as `reports/report.schema.json` describes it.
        exit_code: 0 done, 3 a step failed, 4 an `expect` was not met.
        files: the reports that were written.
        summary: one line on what came from the store; "" where it is not known.
        context: what its reports say.
    """

    folder: Path
    record: dict[str, Any]
    exit_code: int
    context: ReportContext
    files: tuple[Path, ...] = ()
    summary: str = ""
    _given: Mapping[str, Given] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def networks(self) -> Mapping[str, Network]:
        """Name → network: `healthy` first, then the variants and controls in the order of the recipe."""
        variants = self.context.sources[0].report.variants
        return {variant.name: self._network(variant) for variant in variants}

    def _network(self, variant: Variant) -> Network:
        folders = tuple(self.folder / run.folder for run in variant.runs if run.folder)
        error = variant.error.message if variant.error else ""
        parameters = dict(variant.parameters)
        return Network(variant.name, variant.kind, folders, dict(variant.metrics), parameters, error, self._given)

    @property
    def metrics(self) -> Mapping[str, Mapping[str, Measured]]:
        """Name of a network → name of a metric → number with its interval."""
        return {name: network.metrics for name, network in self.networks.items()}

    @property
    def report(self) -> Path | None:
        """The report as an HTML page, or in the first form that the recipe asks for; None where none was written."""
        pages = [file for file in self.files if file.suffix == ".html"]
        return next(iter((*pages, *self.files)), None)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What needs attention."""
        return self.context.warnings

    def table(self) -> str:
        """The comparison as the terminal shows it, without colours."""
        from recipelang.report.terminal import WIDTH, Screen, print_table

        out = io.StringIO()  # no terminal, whatever a kernel says in FORCE_COLOR
        print_table(self.context, Screen(file=out, width=WIDTH, force_terminal=False, force_jupyter=False))
        return out.getvalue()

    def load(self, name: str = "main", **options: Any) -> Predictor:
        """A network of the run, ready to predict.

        Args:
            name: of the network, or its folder in `folder`.
            options: those of `Network.load`.

        Raises:
            RecipeError: as `Network.load`, or there is no such network.
        """
        from recipelang.api.loading import loaded

        if name in self.networks:
            return self.networks[name].load(**options)
        with one_exception():
            return loaded(self.folder / name, options.pop("model", None), dict(self._given), **options)

    def __repr__(self) -> str:
        return f"{self.table()}{self.folder}"

    def _repr_mimebundle_(self, include: Collection[str] = (), exclude: Collection[str] = ()) -> dict[str, str]:
        """The report in a frame of its own, and the table for what shows no HTML."""
        from recipelang.api.page import framed, page

        return {"text/html": framed(page(self.context, self.folder)), "text/plain": repr(self)}


def result(folder: str | Path) -> Result:
    """A finished run, from the command line or from Python.

    Args:
        folder: of the run, or its `report.json`.

    Raises:
        RecipeError: there is no record of a run.
    """
    from recipelang.files import expanded
    from recipelang.report.context import load

    with one_exception():
        place = expanded(str(folder))
        context = load(place)
        home = place if place.is_dir() else place.parent
        record = dict(context.sources[0].data)
        files = tuple(home / name for name in _written() if (home / name).is_file())
        return Result(home, record, _exit_code(context), context, files)


def _written() -> list[str]:
    """The files of all forms of report, and the record."""
    from recipelang import catalogue

    forms: list[Any] = [catalogue.find("report", name) for name in catalogue.names("report")]
    return ["report.json", *(form.file for form in forms)]


def _exit_code(context: ReportContext) -> int:
    """How a run ended, as its record says."""
    report = context.sources[0].report
    if any(variant.error for variant in report.variants):
        return 3
    return 0 if all(expectation.holds for expectation in report.expectations) else 4


def _value(measured: Measured) -> str:
    return "unknown" if measured.value is None else show(measured.value, measured.unit)
