"""Which way of removing parts reaches the budget: each is planned as a recipe, and the first that can is taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from recipelang.drafting import rules, ways
from recipelang.drafting.facts import Facts
from recipelang.drafting.rules import Draft
from recipelang.drafting.ways import Way
from recipelang.drafting.writing import recipe_text
from recipelang.errors import Diagnostic, RecipeError, Refusal
from recipelang.plan import Condition, Plan, tests_of
from recipelang.run import planning
from recipelang.run.options import Options
from recipelang.run.planlines import PlanReport

#: a budget out of reach, nothing to remove, a criterion that does not suit the network: another way may do
OTHERWISE = ("RCP0904", "RCP0910", "RCP0915", "RCP0916")
TRAINING = ("train", "distill", "finetune")
#: of the share of the time that layers take: what they may save at most
GRANTED = 1.5


@dataclass(frozen=True)
class Chosen:
    """The recipe that is written.

    Attributes:
        text: of the recipe.
        told: what the user should know beside it: ways that did not reach the budget.
        report: its plan.
    """

    text: str
    told: tuple[str, ...]
    report: PlanReport


def choose(
    facts: Facts,
    budgets: Sequence[Condition],
    check: Callable[[str], Plan],
    options: Options,
    name: str,
    say: Callable[[str], None],
) -> Chosen:
    """The first recipe that reaches one of the budgets.

    Args:
        facts: what was found.
        budgets: the user's own, or those of the default, the most ambitious first.
        check: from a recipe's text to its plan.
        options: of the plan.
        name: of the recipe's file.
        say: tells what is being tried.

    Raises:
        Refusal: RCP1230: no way reaches the user's budget; RCP1231: nothing can be gained.
        RecipeError: a step of the recipe fails for another reason.
    """
    failed: list[tuple[Condition, Way, str]] = []
    for budget in budgets:
        for way in _ways(facts, budget):
            say(f"trying {'integers alone' if way is None else way.named}: {budget.text}")
            drafted = rules.draft(facts, way, budget)
            plan = check(recipe_text(drafted, name))
            report, problems = _planned(plan, options)
            if not problems and report:
                told = tuple(f"{other.named} cannot reach it: {why}" for _, other, why in failed)
                told += () if way is None or _short(facts, way, budget) else _not_tried(facts, budget)
                return Chosen(recipe_text(drafted, name, _seconds(drafted, report)), told, report)
            if way is None or any(problem.code not in OTHERWISE for problem in problems):
                raise RecipeError(problems, plan.text)
            failed.append((budget, way, problems[0].message.rpartition("out of reach: ")[2]))
    raise _out_of_reach(facts, failed)


def _ways(facts: Facts, budget: Condition) -> Iterator[Way | None]:
    """Integers alone where they suffice, else every way of removing parts, the unlikely ones last."""
    if rules.integers_suffice(facts, budget):
        yield None
        return
    yield from sorted(ways.ways(facts), key=lambda way: _short(facts, way, budget))


def _short(facts: Facts, way: Way, budget: Condition) -> bool:
    """Whether it removes whole layers alone, and all that can go take too little of the time for the budget.

    Their share is a brief reading, so that half as much again is granted. The plan leaves such cases to the run.
    """
    share = facts.found.removable
    if way.units != ("layers",) or share is None:
        return False
    bounds = [
        test.bound
        for test in tests_of(budget)
        if (test.reading.metric.name, test.reading.form) == ("latency", "ratio")
        and test.operator in ("<", "<=")
        and isinstance(test.bound, float | int)
    ]
    return any(1 - GRANTED * share > bound for bound in bounds)


def _not_tried(facts: Facts, budget: Condition) -> tuple[str, ...]:
    """Why whole layers, which save time best, were not tried."""
    if not any(_short(facts, way, budget) for way in ways.ways(facts)):
        return ()
    share = facts.found.removable or 0.0
    return (f"layers alone were not tried: those that can be removed take {share:.0%} of the time",)


def _planned(plan: Plan, options: Options) -> tuple[PlanReport | None, tuple[Diagnostic, ...]]:
    """The plan of a recipe, and what will fail in it."""
    try:
        report = planning.make(plan, options)
    except RecipeError as error:
        return None, error.diagnostics
    return report, report.problems


def _out_of_reach(facts: Facts, failed: Sequence[tuple[Condition, Way, str]]) -> Refusal:
    if not failed:
        message = "no part of this network can be removed, so a recipe has nothing to remove"
        help = "`recipe layers MODEL` says why; `recipe init --runtime onnxruntime` quantizes, where that is installed"
        return Refusal("RCP1231", message, help)
    if facts.wish.budget is None:
        reached = "; ".join(dict.fromkeys(f"{way.named}: {why}" for _, way, why in failed))
        help = "little can be gained here; name another budget, such as `--budget 'size < 0.9'`"
        return Refusal("RCP1231", f"not even a tenth of the time of this network can be saved: {reached}", help)
    reached = "; ".join(dict.fromkeys(f"by {way.named}, {why}" for _, way, why in failed))
    message = f"no way of removing parts reaches `{facts.wish.budget.text}`: {reached}"
    return Refusal("RCP1230", message, "ask for less, as far as these ways reach, or begin with a smaller network")


def _seconds(drafted: Draft, report: PlanReport) -> list[float | None]:
    """What each line of a draft that trains takes, as far as the plan knows."""
    times = iter([row.seconds for row in report.rows if row.text.partition(" ")[0] in TRAINING])
    return [next(times, None) if line.verb in TRAINING else None for line in drafted.lines]
