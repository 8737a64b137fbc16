"""`sparsify PATTERN [to SHARE] [by CRITERION] [over SCHEDULE for DURATION] …`: set weights to zero in a pattern."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang import catalogue
from recipelang.kinds import PATTERN_SCORES, Solver, searching, why_unfit
from recipelang.meaning import modules, places, training
from recipelang.meaning.reader import Reader
from recipelang.meaning.verb import Clause, Verb
from recipelang.meaning.wording import listing
from recipelang.plan import Course, Needs, Samples, Selection, Training, Zeros, later
from recipelang.syntax import nodes
from recipelang.syntax.show import show
from recipelang.verbs import _few, _over, _target


@dataclass(frozen=True)
class Sparsify:
    """Set weights to zero in a pattern, at once or during a training; masks are kept through later training."""

    verb: ClassVar[str] = "sparsify"
    version: ClassVar[int] = 2
    role: ClassVar[str] = "surgery"
    before_healthy: ClassVar[bool] = False

    pattern: Any
    criterion: Any  # None where a schedule ranks by its own law
    selection: Selection = Selection()
    samples: Samples = Samples("train")
    permutation: Any = None
    training: Training | None = later(None)  # with the course of the target, where a schedule raises it
    scratch: bool = later(False)  # that training starts from new random weights
    allocation: Any = later(None)  # divides the target among the weights; None: each has it

    def needs(self) -> Needs:
        """Its criterion, the restriction of its pattern, and the training during which a schedule raises its target."""
        return Needs(
            training=self.training,
            criterion=self.criterion,
            samples=self.samples,
            searches=searching(self.allocation),
            selection=self.selection,
            restriction=self.pattern.restriction,
            sparse=bool(self.pattern.restriction),
            across=getattr(self.pattern, "across", bool(self.pattern.restriction)),
            zeros=self.zeros,
            rounds=getattr(self.schedule, "rounds", 1),
            states=getattr(self.schedule, "states", ()),
            scratch=self.scratch,
        )

    @property
    def zeros(self) -> Zeros:
        """The masks that it leaves."""
        share = self.pattern.share if self.pattern.target and hasattr(self.pattern, "share") else None
        return Zeros(getattr(self.pattern, "piece", "weight"), self.pattern.restriction, share, self.selection)

    @property
    def schedule(self) -> Any:
        """What raises the target or moves the masks during the training; None at once."""
        course = self.training.course if self.training else None
        return course.schedule if course else None


DEFAULT_CRITERION = "magnitude"


def read(reader: Reader) -> Sparsify | None:
    """`sparsify nm 2:4`, `sparsify weights to 90% by magnitude over agp(begin=2 epochs) for 10 epochs except "fc"`."""
    node = reader.operand("one pattern", "write `sparsify nm 2:4`")
    pattern = None
    if node is not None and not (reader.comparison(node) or _target.beside(reader, node)):
        pattern = reader.method(node, "pattern", "`sparsify`", "sparsify nm 2:4")
    share = _target.share(reader, pattern)
    if pattern is not None and share is not None:
        pattern = pattern.at(share)
    schedule = _over.schedule(reader, pattern)
    by, criterion = _criterion(reader, pattern, schedule)
    scratch = _over.scratch(reader)
    trained = _training(reader, pattern, share, criterion, schedule)
    allocation = _target.allocation(reader, pattern, bool(scratch))
    permutation = _permutation(reader, pattern)
    samples = places.samples(reader) or Samples("train")
    made = Sparsify(
        pattern,
        criterion,
        modules.selection(reader),
        samples,
        permutation,
        trained,
        scratch,
        allocation,
    )
    if not reader.failed:
        _over.masks(reader, made.zeros, made.schedule)
        _few.zeros_stay(reader, made.selection)
    return reader.done(made)


def _criterion(reader: Reader, pattern: Any, schedule: Any) -> tuple[Any, Any]:
    """The node of `by` and its criterion; none beside a schedule that ranks by its own law."""
    if schedule is not None and not getattr(schedule, "ranks", True):
        for clause in filter(None, (reader.clause("by"), reader.clause("on"))):
            message = f"`{schedule.name}` ranks by its own law: `{clause.word.text}` changes nothing"
            reader.refuse("RCP0447", message, clause.word.span, f"leave `{clause.word.text}` out")
        return None, None
    if reader.clause("by") is None:
        reader.add("by", DEFAULT_CRITERION)
    by = reader.argument("by")
    criterion = reader.method(by, "criterion", "`by`", "by magnitude") if by is not None else None
    if by is not None and criterion is not None:
        _can_score(reader, criterion, pattern, by)
    return by, criterion


def _can_score(reader: Reader, criterion: Any, pattern: Any, by: Any) -> None:
    """The criterion scores what the pattern keeps or removes, and one that corrects weights has the groups it needs."""
    corrects = isinstance(criterion, Solver)
    if pattern is not None and (why := why_unfit(criterion, "sparsify", _scores(pattern))):
        what = getattr(pattern, "piece", "weight")
        there = f"`prune {criterion.unit}s by {criterion.name}`, or " if criterion.unit in ("layer", "filter") else ""
        reader.refuse(
            "RCP0413",
            f"{criterion.name} does not score single {what}s: {why}",
            by.span,
            f"{there}by {listing(_scoring(pattern))} here",
        )
    if corrects and pattern is not None and not _has_groups(pattern):
        reader.refuse(
            "RCP0413",
            f"{criterion.name} corrects weights group by group, and {pattern.name} has no groups of m",
            by.span,
            "`nm 2:4` has groups; or write `by wanda`, which only ranks",
        )


def _training(reader: Reader, pattern: Any, share: float | None, criterion: Any, schedule: Any) -> Training | None:
    """`over agp(…) for 10 epochs with sgd(…)`: training during which a schedule raises the target; None without it."""
    node: Any = reader.argument("over")
    length = reader.clause("for")
    if reader.clause("over") is None:
        if length is not None:
            help = f"add a schedule, `over agp {show(length)}`, or write `finetune {show(length)}` on a line of its own"
            message = "`for` trains while a schedule raises the target, and there is no schedule"
            reader.refuse("RCP0431", message, length.word.span, help)
        return None
    if schedule is None or pattern is None:
        return None
    if not pattern.target or (isinstance(criterion, Solver) and _has_groups(pattern)):
        what = (
            f"{criterion.name} corrects weights once" if pattern.target else f"`{pattern.name}` has no target to raise"
        )
        reader.refuse(
            "RCP0432", f"{what}: no schedule leads to it", node.span, "write `sparsify weights to 90% by magnitude`"
        )
        return None
    if length is None:
        message = f"`over {schedule.name}` sets weights to zero during a training, and nothing says how long it is"
        reader.refuse("RCP0431", message, node.span, "add `for 10 epochs`")
        return None
    if share is None:
        return None
    if why := schedule.why_not(share):
        reader.refuse("RCP0432", f"`{schedule.name}` {why}", node.span, "write a smaller `start`, or leave it out")
        return None
    others = (item for item in reader.arguments("with") if not _target.is_allocation(item))
    given = tuple(item for item in others if not _is_permutation(item))
    early = reader.clause("from") or hasattr(schedule, "rewind")
    usual = training.FROM_SCRATCH if early else training.TUNING
    rounds = getattr(schedule, "rounds", 1)
    made = training.read(reader, usual, rounds=rounds, given=given, course=Course(schedule, share))
    _in_rounds(reader, schedule, made)
    return made


def _in_rounds(reader: Reader, schedule: Any, trained: Training | None) -> None:
    """A schedule in rounds starts each of them from its own state, and every round has a step."""
    start, length = reader.clause("from"), reader.clause("for")
    if start and hasattr(schedule, "rewind"):
        message = f"`{schedule.name}` starts every round from `{schedule.rewind}`, and `from` from other weights"
        reader.refuse("RCP0409", message, start.word.span, "remove `from scratch`")
    steps = trained.duration.count if trained and trained.duration.unit == "steps" else math.inf
    if length and steps < getattr(schedule, "rounds", 1):
        message = f"{schedule.rounds} rounds need as many steps, and the training has {steps:g}"
        reader.refuse("RCP0312", message, length.arguments[0].span, "train longer, or in fewer rounds")


def _permutation(reader: Reader, pattern: Any) -> Any | None:
    """`with permute`; beside a schedule, the other items of `with` are for the training."""
    given = [item for item in reader.arguments("with") if not _target.is_allocation(item)]
    found = [item for item in given if _is_permutation(item)] if reader.clause("over") else list(given)
    for more in found[1:]:
        reader.refuse(
            "RCP0405", f"`with` of `{reader.verb}` takes one item", more.span, "remove what follows the comma"
        )
    if not found:
        return None
    permutation = reader.method(found[0], "permutation", "`with` of `sparsify`", "with permute")
    if pattern is not None and not _has_groups(pattern):
        reader.refuse(
            "RCP0413",
            f"{pattern.name} prunes no groups of channels: their order does not matter to it",
            found[0].span,
            "leave `with` out, or write `nm 2:4`",
        )
    return permutation


def _is_permutation(node: Any) -> bool:
    return isinstance(node, nodes.Call) and node.path[0].text in catalogue.names("permutation")


def _has_groups(pattern: Any) -> bool:
    return hasattr(pattern, "n") and hasattr(pattern, "m")


def _scores(pattern: Any) -> tuple[str, ...]:
    """The units of criteria that can rank what a pattern keeps or removes."""
    return getattr(pattern, "scores", PATTERN_SCORES)


def _scoring(pattern: Any) -> list[str]:
    """The criteria that can rank it and work with it, as a help line offers them."""
    found: dict[str, Any] = {name: catalogue.find("criterion", name) for name in catalogue.names("criterion")}
    fitting = {name: cls for name, cls in found.items() if cls and not why_unfit(cls, "sparsify", _scores(pattern))}
    return [name for name, cls in fitting.items() if _has_groups(pattern) or not hasattr(cls, "solve")]


VERB = Verb(
    summary="Sets weights to zero in a pattern, at once or during a training; masks are kept through later training.",
    operands="a pattern and its numbers: `nm 2:4`, `weights`, `blocks 4x4`",
    accepts=("pattern",),
    clauses=(
        Clause(
            "by",
            "the criterion that scores weights, or filters for `filters`; none beside a schedule that ranks itself",
            default=DEFAULT_CRITERION,
            accepts=("criterion",),
        ),
        Clause("to", "the share of zeros, for a pattern that leaves it open: `weights to 90%`", accepts=("share",)),
        Clause(
            "over",
            "a number of rounds, or a schedule that raises the target, or moves the masks, during a training",
            default="at once",
            accepts=("rounds", "schedule"),
        ),
        Clause("for", "how long that training is", accepts=("epochs",)),
        Clause(
            "from",
            "`scratch`: that training starts from new random weights",
            default="the current weights",
            words=("scratch",),
        ),
        Clause(
            "with",
            "how input channels are reordered first: `permute`; how the target is divided among weights: "
            f"{listing(_target.dividing())}; with `over`, an optimizer, a loss, companions",
            default=f"`uniform`; with `over`, {training.TUNING}; from scratch or an early state, "
            f"{training.FROM_SCRATCH}",
            accepts=("permutation", "allocation", "optimizer", "loss", "companion"),
        ),
        Clause("in", "modules to sparsify", default="all that can take the pattern", accepts=("modules",)),
        Clause("except", "modules to leave dense", accepts=("modules",)),
        Clause("on", "the data that the criterion uses", default="train", accepts=("split",)),
    ),
    example='sparsify nm 2:4 by magnitude except "fc"',
    read=read,
    operation=Sparsify,
    rules=(
        "`nm` sets `recovered`: the network as it is before the pattern.",
        "`over` needs `for`: masks are set during the training, kept between two updates and afterwards.",
        "`over 3 rounds for 9 epochs` ranks, masks a third of the target more and trains 3 epochs, three times; what "
        "is zero stays zero.",
        "`over lottery(rounds=5, rewind=NAME)` divides `for` among its rounds; before each, the weights that stay go "
        "back to what they were where `keep as NAME` kept them.",
        "Weights that cannot take the pattern stay dense, and the report says why.",
        "A weight has one mask: a second `sparsify` replaces it, and the report says where zeros are no longer held.",
        "`with permute` reorders input channels so that the pattern keeps more of the scores; until the pattern is "
        "applied, the network computes the same function as before.",
        "Where removal comes just before and `recovered` is named later, tuning for 3 epochs is inserted between; "
        "`no recovery` leaves it out.",
    ),
    stale=(("quantized", "the ranges of `quantize` were chosen for weights that this sets to zero"),),
    restricts=True,
)
