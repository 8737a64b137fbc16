"""`prune [N] UNIT by CRITERION [until BUDGET] [while GUARD] …`: remove parts of the network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from recipelang import catalogue
from recipelang.catalogue import spell
from recipelang.errors import did_you_mean
from recipelang.kinds import searching, why_unfit
from recipelang.meaning import conditions, modules, places, removal, schedules, training, trees
from recipelang.meaning.bounds import opposed, shrinking
from recipelang.meaning.reader import Reader
from recipelang.meaning.verb import Clause, Verb
from recipelang.meaning.wording import listing
from recipelang.plan import Condition, Course, Needs, Samples, Selection, Training, later
from recipelang.syntax import nodes
from recipelang.verbs import _learned, _removed
from recipelang.verbs._removed import Amount


@dataclass(frozen=True)
class Prune:
    """Remove the least important units until a budget holds, or a given number of them."""

    verb: ClassVar[str] = "prune"
    version: ClassVar[int] = 4
    role: ClassVar[str] = "surgery"
    before_healthy: ClassVar[bool] = False

    unit: Any  # a method of kind `unit`, with its amount as of `Amount`
    criterion: Any  # None where a companion of the training decides what is removed, and how much
    count: int | None = None
    share: float | None = None
    until: Condition | None = None
    guard: Condition | None = None
    selection: Selection = Selection()
    rounds: int = 1
    training: Training | None = None  # divided among the rounds, or one with the course of its schedule
    samples: Samples = Samples("train")  # the data that the criterion uses
    more: tuple[Amount, ...] = later(())  # further units
    allocation: Any = later(None)  # a method of kind `allocation`; None: one ranking of each unit
    tuner: Any = later(None)  # the optimizer of trainings that an allocation makes; None: that of `training`

    def needs(self) -> Needs:
        """Its criterion, its budget, and its training."""
        return Needs(
            training=self.training,
            rounds=self.rounds,
            criterion=self.criterion,
            unit=self.unit,
            samples=self.samples,
            until=self.until,
            guard=self.guard,
            looks=self._looks,
            glances=getattr(self.allocation, "looks", 0),
            searches=searching(self.allocation),
            selection=self.selection,
        )

    @property
    def _looks(self) -> int:
        """About how many networks are measured for a budget: some to weigh units against each other, some to end."""
        many = any(amount.unit.many for amount in self.amounts)
        weighed = 20 if self.allocation is not None and self.allocation.prices else 0
        if getattr(self.allocation, "decides", False):
            return weighed + 4  # the rest are glances
        return weighed + (24 if many else 5)

    @property
    def amounts(self) -> tuple[Amount, ...]:
        """Every unit with its amount."""
        return (Amount(self.unit, self.count, self.share), *self.more)

    @property
    def alone(self) -> tuple[Prune, ...]:
        """The statement for each unit by itself."""
        return tuple(replace(self, unit=one.unit, count=one.count, share=one.share, more=()) for one in self.amounts)


def read(reader: Reader) -> Prune | None:
    """`prune 2 layers by taylor`, `prune layers by imprint until latency < 0.7 while top1 drop < 1%`."""
    asked = _removed.amounts(reader)
    understood = not reader.failed
    criterion_node = reader.argument("by")
    if _learned.is_companion(criterion_node):
        learned = _learned.read(reader, criterion_node, asked)
        return reader.done(Prune(learned.unit, None, training=learned.training, selection=learned.selection))
    criterion = None
    if criterion_node is not None:
        criterion = reader.method(criterion_node, "criterion", "`by`", "by imprint")
    elif reader.clause("by") is None and understood:
        imprint = "`by imprint`, " if all(_fits("imprint", amount.unit) for amount in asked) else ""
        help = f"write {imprint}`by taylor` or `by magnitude`"
        reader.refuse("RCP0403", "`prune` does not say how to rank", None, help)
    until, guard = conditions.of_clause(reader, "until"), conditions.of_clause(reader, "while")
    shrinking(until, "until", reader.refuse)
    shrinking(guard, "while", reader.refuse)
    opposed(until, guard, reader.refuse)
    for number, amount in enumerate(asked):
        if criterion is not None and criterion_node is not None:
            _scored(reader, amount.unit, criterion, criterion_node)
        _in_order(reader, amount.unit, number)
    if understood and asked:
        _how_much(reader, asked)
    rounds, course = _over(reader, asked)
    allocation = _removed.allocation(reader, asked, None if reader.failed else criterion)
    first = asked[0] if asked else _removed.Amount(None)
    if course and allocation is not None and getattr(course.schedule, "soft", False) and hasattr(allocation, "explore"):
        message = (
            f"`{allocation.name}` searches for what is removed, and `{course.schedule.name}` ranks at every update"
        )
        help = f"leave `with {allocation.name}` out, or write `over agp(every=1 epochs)`"
        place = reader.argument("over")
        reader.refuse("RCP0475", message, place.span if place is not None else None, help)
    trained, tuner = _training(reader, rounds, course, allocation), _tuner(reader, allocation)
    made = Prune(
        unit=first.unit,
        criterion=criterion,
        count=first.count,
        share=first.share,
        until=until,
        guard=guard,
        selection=modules.selection(reader),
        rounds=rounds,
        training=trained,
        samples=places.samples(reader) or Samples("train"),
        more=asked[1:],
        allocation=allocation,
        tuner=tuner,
    )
    return reader.done(made)


def _scored(reader: Reader, unit: Any, criterion: Any, node: Any) -> None:
    """The criterion's scores must aggregate to the unit, and mean something there."""
    if why := why_unfit(criterion, unit.name, unit.scores):
        fitting = [name for name in catalogue.names("criterion") if _fits(name, unit)]
        there = criterion.unit in ("layer", "filter") and criterion.unit not in unit.scores
        own = [f"`prune {criterion.unit}s by {spell(criterion)}`"] if there else []
        reader.refuse(
            "RCP0413",
            f"{criterion.name} does not rank {unit.name}: {why}",
            node.span,
            ", or ".join([*own, f"by {listing(fitting)} here"]),
        )


def _fits(name: str, unit: Any) -> bool:
    found: Any = catalogue.find("criterion", name)
    return not why_unfit(found, unit.name, unit.scores)


def _in_order(reader: Reader, unit: Any, number: int) -> None:
    """A pattern across channels comes after channels are removed."""
    removal.after_pattern(reader, unit, reader.statement.operands[number].span)


def _how_much(reader: Reader, asked: tuple[Amount, ...]) -> None:
    """Something must say when to stop, and not two things at once."""
    what, counted = " and ".join(amount.unit.name for amount in asked), asked[0].given
    until, guard = reader.clause("until"), reader.clause("while")
    if counted and until:
        help = "remove the number, or the `until`; in rounds: `repeat until … { prune 1 layer … }`"
        message = f"the number of {what} and `until` both say when to stop"
        reader.refuse("RCP0409", message, until.word.span, help)
    elif not (counted or until or guard):
        numbered = ", ".join(f"2 {amount.unit.name}" for amount in asked)
        help = f"write `prune {numbered} …`, or add `until latency < 0.7` or `while top1 drop < 1%`"
        reader.refuse("RCP0410", "nothing says how much to remove", None, help)


def _over(reader: Reader, asked: tuple[Amount, ...]) -> tuple[int, Course | None]:
    """`over 5 rounds`, or `over agp(every=1 epochs)` and where it leads; 1 round without the clause."""
    node = reader.argument("over")
    if node is None:
        return 1, None
    rounds = schedules.rounds(reader, node)
    if isinstance(node, nodes.Call):
        return 1, _course(reader, node, asked)
    return rounds or 1, None


def _course(reader: Reader, node: nodes.Call, asked: tuple[Amount, ...]) -> Course | None:
    """The schedule of a training during which parts are removed, and its target: a share of them where the statement
    asks for one, else all of the way to a number or a budget."""
    schedule = reader.method(node, "schedule", "`over` of `prune`", "over agp(every=1 epochs)")
    if schedule is None or not asked:
        return None
    final = asked[0].share if len(asked) == 1 and asked[0].share else 1.0
    if "parts" not in schedule.moves:
        every: dict[str, Any] = {name: catalogue.find("schedule", name) for name in catalogue.names("schedule")}
        others = listing([name for name, cls in every.items() if cls and "parts" in cls.moves])
        message = f"`{schedule.name}` decides which weights are masked, and `prune` removes parts of the network"
        reader.refuse("RCP0432", message, node.span, f"over {others}, or `sparsify weights … over {schedule.name}`")
    elif hard := [one.unit.name for one in asked if one.unit.name not in getattr(schedule, "units", [one.unit.name])]:
        able = " and ".join(schedule.units)
        message = f"`{schedule.name}` sets {able} to zero and trains them further, which {hard[0]} do not allow"
        reader.refuse("RCP0432", message, node.span, f"prune {able}, or write `over agp(every=1 epochs)`")
    elif not (asked[0].given or reader.clause("until")):
        if reader.clause("while"):  # without one, that nothing says how much, or the number itself, is refused already
            message = f"`{schedule.name}` leads to an amount or a budget, and `while` is neither"
            reader.refuse("RCP0432", message, node.span, "add a number, a share or `until flops < 0.5`")
    elif why := schedule.why_not(final):
        reader.refuse("RCP0432", f"`{schedule.name}` {why}", node.span, "write a smaller `start`, or leave it out")
    elif reader.clause("for") is None:
        message = f"`over {schedule.name}` removes parts during a training, and nothing says how long it is"
        reader.refuse("RCP0431", message, node.span, "add `for 10 epochs`")
    else:
        return Course(schedule, final)
    return None


def _training(reader: Reader, rounds: int, course: Course | None, allocation: Any) -> Training | None:
    """`for 20 epochs with sgd(…)`: training, divided among the rounds; None without `for`."""
    given = tuple(node for node in reader.arguments("with") if not _removed.is_allocation(node))
    if reader.clause("for"):
        return training.read(reader, training.TUNING, rounds=rounds, given=given, course=course)
    tunes = getattr(allocation, "tunes", False)
    for node in given:
        if tunes and training.names(node, "optimizer"):
            continue
        meant = did_you_mean(trees.bare_word(node) or "", catalogue.names("allocation"))
        help = f"{meant}{'to train, ' if meant else ''}add `for 3 epochs`, or remove `with`"
        reader.refuse("RCP0414", "`with` trains, and nothing says how long", node.span, help)
    return None


def _tuner(reader: Reader, allocation: Any) -> Any | None:
    """The optimizer of the trainings that an allocation makes itself; None where there are none, or with `for`, whose
    optimizer it is then."""
    if not getattr(allocation, "tunes", False) or reader.clause("for"):
        return None
    given = [node for node in reader.arguments("with") if training.names(node, "optimizer")]
    for more in given[1:]:
        reader.refuse("RCP0408", "`with` names a second optimizer", more.span, "keep one")
    node = given[0] if given else reader.add("with", training.usual(reader.flow.task, training.TUNING))[-1]
    return reader.method(node, "optimizer", "`with`", "with sgd(lr=1e-2)")


VERB = Verb(
    summary="Removes the least important parts of the network until a budget holds, or a given number of them.",
    operands=f"one or several units, with a number or share before them: {listing(catalogue.names('unit'))}",
    accepts=("unit",),
    clauses=(
        Clause(
            "by",
            "the criterion that ranks, or a companion of a training that decides, as `joint`",
            required=True,
            accepts=("criterion", "companion"),
        ),
        Clause("until", "a budget: stop as soon as it holds", accepts=("condition",)),
        Clause("while", "a guard: a removal that breaks it is undone", accepts=("condition",)),
        Clause("in", "modules to remove from", default="all", accepts=("modules",)),
        Clause("except", "modules to keep", accepts=("modules",)),
        Clause(
            "over",
            "a number of rounds, or a schedule: `agp(every=1 epochs)`; each round or update ranks again",
            default="1 round",
            accepts=("rounds", "schedule"),
        ),
        Clause(
            "for",
            "training, divided among the rounds; with a schedule, the one in which it removes",
            default="none",
            accepts=("epochs",),
        ),
        Clause(
            "with",
            f"how the removal is divided among groups: {listing(catalogue.names('allocation'))}; an optimizer and a "
            "loss for that training",
            default=f"`global`, for several units `knapsack`; {training.TUNING}",
            accepts=("allocation", "optimizer", "loss", "companion"),
        ),
        Clause("on", "the data that the criterion uses", default="train", accepts=("split",)),
    ),
    example="prune layers by imprint until latency < 0.7 while top1 drop < 2%",
    read=read,
    operation=Prune,
    rules=(
        "A number, a share, `until` or `while` says when to stop; a number and `until` are mutually exclusive.",
        "After the statement its `until` holds and its `while` still holds; otherwise the budget was out of reach.",
        "Numbers are totals: `over 10 rounds for 20 epochs` trains 20 epochs in total.",
        "`over` a schedule removes during one training, whose learning rate follows the whole of `for`; each update "
        "begins the optimizer's momentum again.",
        "`while` is judged after each removal and before the training of its round, and ends the statement; "
        "`repeat while … { prune …; finetune … }` judges after the training.",
        "`by joint for 10 epochs` learns during the training what is removed, and how much: no number, no budget, no "
        "rounds.",
        "A criterion must score the unit: one that ranks whole layers cannot rank filters.",
        "Several units, `prune layers, filters …`, are weighed by the importance lost for what is won of the budget; "
        "with a number each, `prune 2 layers, 30% filters …`, they are removed one after another.",
    ),
    stale=(("quantized", "the ranges of `quantize` were chosen for the network with what this removes"),),
    not_after=("accelerate",),
    why_not_after="removing {what} after `accelerate` ({place}) breaks the kernels chosen there",
)
