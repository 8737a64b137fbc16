"""`report.json`, field by field: what a run records and every report is made from.

    Report ─ variants: Variant ─ runs: Run (one per seed) ─ steps: Step

Numbers are in base units: seconds, bytes, counts, fractions of 1. `reports/report.schema.json` is made from
these classes, and a test compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from recipelang.errors import Refusal
from recipelang.kinds import Figure, Plot
from recipelang.report.costs import Cost
from recipelang.report.curves import Epoch
from recipelang.report.decode import NAME, cut, decode, schema, visible
from recipelang.report.layered import LayerPair, Profile
from recipelang.report.measured import Measured, Metric

FORMAT, FORMATS = "recipelang.report/2", ("recipelang.report/1", "recipelang.report/2")
Scalar: TypeAlias = str | bool | int | float | None


@dataclass(frozen=True)
class RecipeText:
    """The recipe as written.

    Attributes:
        path: the file; "" for a recipe from the command line.
        text: its text.
    """

    path: str
    text: str = field(metadata={"longest": 1_000_000})


@dataclass(frozen=True)
class Ranked:
    """One unit of a ranking, or a group of them.

    Attributes:
        layer: its name, or that of the group: the first of its layers.
        score: its importance, the mean of a group; the higher the more important.
        removed: whether the step removed it, or any of the group.
        gone, of: how many units of the group were removed, and how many it had; null for a single unit.
        unit: what it is, where the step removes several units: `layers`, `filters`; else null.
    """

    layer: str = field(metadata=NAME)
    score: float | None
    removed: bool = False
    gone: int | None = None
    of: int | None = None
    unit: str | None = None


@dataclass(frozen=True)
class Step:
    """One statement as it was carried out.

    Attributes:
        verb: `prune`.
        text: the statement in canonical form.
        line: of the recipe, from 1; null if the statement is not in the recipe.
        implied: whether the language added it.
        seconds: how long it took when it was done.
        cached: whether it came from the store.
        asked, reached: the budget or amount, and the result, as numbers; in words in records of form 1.
        note: a remark on the step.
        metrics: what was measured right after it.
        edits: what was changed, in words or as the entries of the edit log.
        ranking: importance of every unit that could be removed, least important first; of groups of units, in the
            order of the network.
        history: the training curve.
        unvalidated: why the points of the curve have no validation; "" where they have, or there is no curve.
        plots: other curves, such as those of a search.
        cost: what it took when it was done; null where it is not known, or there was nothing to do.
    """

    verb: str
    text: str
    line: int | None = None
    implied: bool = False
    seconds: float | None = None
    cached: bool = False
    asked: tuple[Figure, ...] | str | None = None
    reached: tuple[Figure, ...] | str | None = None
    note: str | None = None
    metrics: Mapping[str, Measured] = field(default_factory=dict)
    edits: tuple[str | Mapping[str, Any], ...] = ()
    ranking: tuple[Ranked, ...] | None = None
    history: tuple[Epoch, ...] | None = None
    unvalidated: str = ""
    plots: tuple[Plot, ...] = ()
    cost: Cost | None = None


@dataclass(frozen=True)
class Run:
    """A variant under one seed.

    Attributes:
        seed: null if the recipe names none.
        folder: the folder of its network, relative to the report.
        metrics: as measured under this seed.
        steps: in order.
        cost: what its steps took; those before healthy are healthy's.
    """

    seed: int | None = None
    folder: str = ""
    metrics: Mapping[str, Measured] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    cost: Cost | None = None


@dataclass(frozen=True)
class Trouble:
    """Why something failed, or what needs attention.

    Attributes:
        message: one sentence.
        code: as `recipe explain` knows it.
        help: what to do.
        line: of the recipe, from 1.
    """

    message: str
    code: str = ""
    help: str = ""
    line: int | None = None


@dataclass(frozen=True)
class Execution:
    """How one layer runs on this machine.

    Attributes:
        layer: its name.
        shape: of its weight.
        executes: `dense`, `masked only`, or the kernel.
        why: the reason.
        on: the device, precision and batch that it was chosen for.
    """

    layer: str = field(metadata=NAME)
    shape: str | tuple[int, ...] = ""
    executes: str = "dense"
    why: str = ""
    on: str = ""


@dataclass(frozen=True)
class Variant:
    """One network of the report.

    Attributes:
        name: `healthy`, `main`, or the name in the recipe.
        kind: `healthy`, a `variant`, or a `control` (the same training without the surgery).
        parameters: of a sweep point.
        control_of: the variants that this control is for.
        error: why it failed; null if it did not.
        chosen: whether `choose` picked it.
        goes_on: whether the recipe ends with this network: it did not lose a `choose`, and no later network was
            made from it; null in records without this information.
        origin: the variant that `choose` picked and this network was made from; "" if there is none.
        metrics: the mean over seeds.
        layers: how each layer executes.
        runs: one per seed.
        cost: what it took to make it from healthy, the mean over seeds; of healthy, what it took to make that.
        forms: width, zeros and bits of every layer with a weight, beside healthy's; of the first seed.
        profiles: where the time is, one for each `profile` that the recipe measures; of the first seed.
    """

    name: str = field(metadata=NAME)
    kind: Literal["healthy", "variant", "control"]
    parameters: Mapping[str, Scalar] = field(default_factory=dict)
    control_of: tuple[str, ...] = field(default=(), metadata=NAME)
    error: Trouble | None = None
    chosen: bool = False
    goes_on: bool | None = None
    origin: str = field(default="", metadata=NAME)
    metrics: Mapping[str, Measured] = field(default_factory=dict)
    layers: tuple[Execution, ...] = ()
    runs: tuple[Run, ...] = ()
    cost: Cost | None = None
    forms: tuple[LayerPair, ...] = ()
    profiles: tuple[Profile, ...] = ()


@dataclass(frozen=True)
class Expectation:
    """An `expect` and its verdict.

    Attributes:
        text: the condition as written.
        line: of the recipe, from 1.
        variant: its name; "" for all.
        holds: null if it could not be decided.
        value: why nothing was measured; what was measured in words or as a number, in records of form 1.
        figures: what was measured, with the bounds.
        margin: whether the bound is inside the interval (true), or a sentence about it.
        held: how many of the seeds hold; null with one seed.
        note: what the measurements say of what was missed.
        seeds_hold: the same in records of form 1: `3/3`.
    """

    text: str
    line: int | None = None
    variant: str | None = ""
    holds: bool | None = None
    value: str | float | None = None
    figures: tuple[Figure, ...] = ()
    margin: bool | str | float | None = None
    held: Figure | None = None
    note: str = ""
    seeds_hold: str | None = ""


@dataclass(frozen=True)
class Report:
    """The record of one run of a recipe.

    Attributes:
        format: names the version of this form.
        title: the recipe's name.
        created: date and time, ISO 8601.
        command: the command line.
        environment: machine and versions, in words.
        metrics: the columns, in order.
        warnings: what needs attention.
    """

    format: Literal["recipelang.report/1", "recipelang.report/2"]
    title: str
    recipe: RecipeText
    metrics: tuple[Metric, ...]
    variants: tuple[Variant, ...]
    created: str = ""
    command: str = ""
    environment: Mapping[str, Scalar] = field(default_factory=dict)
    expectations: tuple[Expectation, ...] = ()
    warnings: tuple[str | Trouble, ...] = ()


def read(data: Any) -> Report:
    """The record that a JSON value holds.

    Raises:
        Refusal: RCP1101: not in this form; RCP1102: in a version that this recipelang does not know.
    """
    version = data.get("format") if isinstance(data, Mapping) else None
    if isinstance(version, str) and version.startswith("recipelang.report/") and version not in FORMATS:
        raise Refusal(
            "RCP1102",
            f"the report is in the form `{cut(visible(version), 60)}`, and this recipelang reads `{FORMAT}`",
            "use the recipelang that wrote it, or run the recipe again",
        )
    return decode(Report, data)


def report_schema() -> dict[str, Any]:
    """The JSON schema of `report.json`."""
    return schema(Report, "report.json of recipelang: the record of one run of a recipe", FORMAT)
