"""`quantize … until … while …`: the bits of each place, as a search finds them.

choices ─ search ─▶ widths from the widest to the narrowest ─ budget, guard ─▶ one of them ─▶ grids
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from recipelang.budgets.bench import Told
from recipelang.budgets.conditions import bounds, missed
from recipelang.budgets.held import divided
from recipelang.budgets.search import SearchResult, smallest
from recipelang.budgets.verdict import Verdict
from recipelang.budgets.widths import WidthsBench
from recipelang.errors import Refusal
from recipelang.kinds import Choice, Figure, Line, Observed, Plot, Restriction, Widths
from recipelang.plan import canonical, tests_of
from recipelang.searching.choices import choices_of
from recipelang.stages._joint import Observe
from recipelang.stages.context import Context, Foresight, Outcome, OutOfReach
from recipelang.surgery.network import Network
from recipelang.surgery.quantizing import Places, activation_grids, weight_grids
from recipelang.units import counted
from recipelang.verbs.quantize import Quantize


@dataclass
class Grids:
    """The grids of all places at all widths, each made once.

    Attributes:
        network: before; not changed.
        weights: parameter name → the axis of its outputs.
        quantizer: decides the numbers.
        hardware: that must have them; None: any.
        observed: of the activations, with the weights at their widest.
    """

    network: Network
    weights: Mapping[str, int]
    quantizer: Any
    hardware: Any = None
    observed: Mapping[str, Observed] = field(default_factory=dict)
    _made: dict[tuple[str, int], Restriction] = field(default_factory=dict)

    def __call__(self, choices: Sequence[Choice], widths: Widths) -> dict[str, Restriction]:
        """Place → its grid; those of 0 bits have none."""
        return {one.place: self.of(one.place, bits) for one, bits in zip(choices, widths, strict=True) if bits}

    def of(self, place: str, bits: int) -> Restriction:
        """The grid of a place."""
        if (place, bits) not in self._made:
            if place in self.weights:
                made = weight_grids(self.network, {place: self.weights[place]}, bits, self.quantizer, self.hardware)
            else:
                made = activation_grids({place: self.observed[place]}, bits, self.quantizer, self.hardware)
            self._made[place, bits] = made[place]
        return self._made[place, bits]


def searched(operation: Quantize, context: Context, found: Places, observe: Observe) -> tuple[Outcome, Places]:
    """The network with the widths that a search finds, and the places that have some of them: the first widths that
    meet the budget, as far as the guard allows.

    Args:
        operation: with a search.
        found: the places that get grids.
        observe: what passes activations.

    Raises:
        Refusal: RCP1403: no activation needs a grid, and nothing else is quantized.
        OutOfReach: RCP0904: the budget cannot be met, or not before the guard is violated; the network that comes
            nearest is its outcome.
    """
    before, division = context.network, divided(context.data, context.seed, context.smoke)
    grids = Grids(before, found.weights, operation.estimator, operation.hardware)
    if found.activations:
        rounded = before.restricted({name: grids.of(name, operation.able[-1]) for name in found.weights})
        seen = observe(replace(context, data=division.rest), rounded, found.activations)
        grids.observed, found = found.wanting(operation.estimator, seen)
    choices = choices_of(before, found.weights, found.activations, operation.able)
    if not choices:
        why = "; ".join(dict.fromkeys(found.inputs.values()))
        raise Refusal("RCP1403", f"nothing here can be quantized: {why}", "name more modules in `in`")
    bench = WidthsBench(
        choices=choices,
        whole=before,
        make=lambda widths: before.restricted(grids(choices, widths)),
        until=operation.until,
        read=context.read,
        judge=context.judge,
        glance=context.glance,
        division=division,
        decides=[canonical(operation.estimator), canonical(operation.samples), canonical(operation.hardware)],
        search=operation.widths,
        seed=context.seed,
        folder=context.folder,
        **context.working,
    )
    widest = bench.widest
    if operation.guard is not None:
        verdict = context.judge(operation.guard, bench.network(widest), False)
        if not verdict.holds:
            raise _too_harmful(operation, context, choices, widest, verdict, grids)
    with bench:
        course = operation.widths.course(bench)
        bench.tell_clocks()
    result = smallest(
        lambda k: bench.network(course[k]), len(course) - 1, operation.until, operation.guard, context.judge,
        lambda k, verdict: context.progress.say(f"    {_words(choices, course[k])}: {verdict.text}"), many=True,
    )  # fmt: skip
    widths = course[result.count]
    outcome = _told(operation, context, choices, widths, result.verdict, grids, bench.told, result.guarded)
    if not result.met:
        raise _out_of_reach(operation, context, outcome, choices, widths, result)
    return outcome, found


def foreseen(operation: Quantize, network: Network, found: Places, left: str) -> Foresight:
    """How many places get widths of their own, and the network with all weights at their narrowest: the limit."""
    counts = (("weight", len(found.weights)), ("activation", len(found.activations)))
    what = " and ".join(counted(count, noun) for noun, count in counts if count)
    span = f"{operation.able[0]} to {operation.able[-1]} bits"
    limit = network.restricted(
        weight_grids(network, found.weights, operation.able[0], operation.estimator, operation.hardware)
    )
    said = f"{what}: {span} each, as `{operation.widths.name}` finds"
    return Foresight(tuple(filter(None, (said, left))), limit if found.weights else None)


def _told(
    operation: Quantize,
    context: Context,
    choices: Sequence[Choice],
    widths: Widths,
    verdict: Verdict | None,
    grids: Grids,
    said: Sequence[Told] = (),
    guarded: bool = False,
) -> Outcome:
    """What the statement leaves: the network with these widths, and how they are divided."""
    made = grids(choices, widths)
    asked = bounds(operation.until) if operation.until else ()
    notes = ["the guard stopped it: narrower grids would violate the guard"] if guarded else []
    notes += [_words(choices, widths), *(one.note for one in said)]
    return Outcome(
        context.network.clone().restricted(made),
        asked=(*asked, *(bounds(operation.guard, "while") if operation.guard else ())),
        reached=(
            *_counted(choices, widths),
            *(replace(figure, joins=figure.joins or ":") for figure in (verdict.figures if verdict else ())),
            *(figure for one in said for figure in one.figures),
        ),
        note="; ".join(filter(None, notes)),
        edits=tuple(f"`{place}` has {one.name}" for place, one in made.items()),
        plots=(*(plot for one in said for plot in one.plots), _plot(choices, widths)),
    )


def _counted(choices: Sequence[Choice], widths: Widths) -> tuple[Figure, ...]:
    """`56 weights have 2 to 8 bits and 82 activations have 8 bits`, and the mean bits of a weight."""
    found: list[Figure] = []
    for part, noun in (("weights", "weight"), ("activations", "activation")):
        bits = [one for one, choice in zip(widths, choices, strict=True) if choice.part == part]
        if bits:
            span = f"{min(bits)} to {max(bits)}" if min(bits) < max(bits) else f"{bits[0]}"
            have = "has" if len(bits) == 1 else "have"
            found.append(Figure(f"{have} {span} bits", len(bits), noun=noun, joins="and" if found else ""))
    return tuple(found)


def _words(choices: Sequence[Choice], widths: Widths) -> str:
    """`weights: 4.2 bits on average, 12 of 8, 40 of 4; activations: 82 of 8`."""
    told = []
    for part in dict.fromkeys(choice.part for choice in choices):
        own = [(bits, choice.elements) for bits, choice in zip(widths, choices, strict=True) if choice.part == part]
        mean = sum(bits * elements for bits, elements in own) / max(1, sum(elements for _, elements in own))
        counts = sorted(Counter(bits for bits, _ in own).items(), reverse=True)
        told.append(f"{part}: {mean:.2g} bits on average ({', '.join(f'{n} of {bits}' for bits, n in counts)})")
    return "; ".join(told)


def _plot(choices: Sequence[Choice], widths: Widths) -> Plot:
    """The bits of every place: weights in the order of the network, activations in the order of execution."""
    lines = []
    for part in dict.fromkeys(choice.part for choice in choices):
        bits = [float(one) for one, choice in zip(widths, choices, strict=True) if choice.part == part]
        lines.append(Line(part, tuple(range(1, len(bits) + 1)), tuple(bits)))
    return Plot("Bits of each place", "place, in the order of the network", "bits", tuple(lines), points=True)


def _too_harmful(
    operation: Quantize,
    context: Context,
    choices: Sequence[Choice],
    widest: Widths,
    verdict: Verdict,
    grids: Grids,
) -> OutOfReach:
    outcome = _told(operation, context, choices, widest, None, grids)
    assert operation.guard is not None
    return OutOfReach(
        "RCP0904",
        f"`while {operation.guard.text}` is violated by the widest grids already: with {_words(choices, widest)}, "
        f"it is at {verdict.text}",
        "loosen the guard, quantize less (`except first, last`), or try another quantizer, as `by mse`",
        outcome,
    )


def _out_of_reach(
    operation: Quantize,
    context: Context,
    outcome: Outcome,
    choices: Sequence[Choice],
    widths: Widths,
    result: SearchResult,
) -> OutOfReach:
    """The refusal that says how far the statement can get, and which part of its budget fails."""
    until = operation.until
    assert until is not None
    verdict = result.verdict or context.judge(until, outcome.network, True)
    at = verdict.text
    if short := missed(until, verdict):
        at += f"; {' and '.join(f'`{test}`' for test in short)} {'fails' if len(short) == 1 else 'fail'}"
    if result.guarded:
        how = "before the guard is violated"
        help = "ask for less, loosen the guard, try another search or quantizer, or prune before quantizing"
    else:
        how = "with the narrowest widths that it found"
        far = " and ".join(sorted({test.reading.metric.name for test in tests_of(until)}))
        help = (
            f"ask for less, quantize more modules, or prune before quantizing; no search changes how far {far} can go"
        )
    message = f"`until {until.text}` is out of reach: {how} ({_words(choices, widths)}), it is at {at}"
    return OutOfReach("RCP0904", message, help, outcome)
