"""What a first recipe does, and why: one function for each decision, from facts to lines. No network, no text files.

What it removes is in `ways.py`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass

from recipelang.drafting import evidence
from recipelang.drafting.called import clocks_of, spelt
from recipelang.drafting.facts import Facts, Samples, Wish
from recipelang.drafting.notes import head, hints, little
from recipelang.drafting.ways import Way, budget_reads
from recipelang.plan import Any_, Condition, Test
from recipelang.units import counted

#: what integers leave of a float32 network's time and bytes: the worst of what docs/quantization.md measured, rounded
INTEGER_TIME, INTEGER_SIZE = 0.55, 0.3
#: images that a network without weights sees, and those that one sees to recover; epochs are at least and at most
SCRATCH_IMAGES, SCRATCH_EPOCHS = 450_000, (3, 20)
RECOVERY_IMAGES, RECOVERY_EPOCHS = 90_000, (2, 10)
#: data this large is ranked by a part of it
LARGE_DATA, RANKED_BY = 10_000, 2000
#: points that accuracy may fall before anything is recovered
BROKEN = {"%": "60%", "dB": "12dB"}
DEFAULT_BOUNDS = (0.7, 0.8, 0.9)


@dataclass(frozen=True)
class Line:
    """A statement of the recipe, and why it is there: sentences that become the comment above it."""

    text: str
    why: tuple[str, ...] = ()

    @property
    def verb(self) -> str:
        """Its first word."""
        return self.text.partition(" ")[0]


@dataclass(frozen=True)
class Draft:
    """A recipe before it is text: what is noted at its head and end, and its lines."""

    head: tuple[str, ...]
    lines: tuple[Line, ...]
    end: tuple[str, ...] = ()


def draft(facts: Facts, way: Way | None, budget: Condition) -> Draft:
    """The whole recipe.

    Args:
        facts: what is known.
        way: what is removed; None removes nothing, which integers alone may justify.
        budget: what has to be reached.
    """
    clocks = clocks_of(facts, budget)
    lines = [
        *_begin(facts),
        *start(facts),
        *(Line(f"let {name} = {metric}", _called(facts.wish)) for metric, name in clocks.items()),
        measured(facts, clocks),
        *(() if way is None else (removal(facts, way, budget, clocks), recovery(facts))),
        *sparsity(facts),
        *integers(facts, alone=way is None),
        *([] if way is None and not facts.machine.sparse else [CONTROL]),
        verdict(facts, way, budget, clocks),
        *_written(facts),
    ]
    return Draft(
        (*head(facts), *little(facts, way.units if way else (), budget_reads(facts)[0])), tuple(lines), hints(facts)
    )


# -- lines -------------------------------------------------------------------------------------------


def _begin(facts: Facts) -> Iterator[Line]:
    wish = facts.wish
    if wish.task:
        yield Line(f"task {wish.task}")
    yield Line(f"model {wish.model}")
    sizes = " train, ".join(f"{size:,}" for size in (facts.samples.train, facts.samples.val))
    what = "classes" if facts.task.one_class else "labels"
    classes = f"{facts.samples.classes} {what}: " if facts.samples.classes else ""
    yield Line(f"data {wish.data}", (f"{classes}{sizes} validate and {facts.samples.test:,} test",))


def start(facts: Facts) -> Iterator[Line]:
    """A first training where the weights, or those of the head, are random."""
    if facts.found.pretrained:
        return
    epochs = _epochs(facts.samples.train, SCRATCH_IMAGES, *SCRATCH_EPOCHS)
    why = (
        "the weights are random, and what has not been learned cannot be kept: train first, or name weights",
        "the network after this line is `healthy`, with which everything is compared",
    )
    yield Line(f"train for {counted(epochs, 'epoch')}{_optimizer(facts, '1e-3, to=0, warmup=1 epoch')}", why)


def _epochs(there: int, wanted: int, least: int, most: int) -> int:
    """Epochs in which a network sees about this many samples."""
    return min(most, max(least, math.ceil(wanted / max(1, there))))


def _optimizer(facts: Facts, rate: str, *losses: str) -> str:
    """` with …`: transformers are tuned by AdamW, others as the task does by default."""
    items = [*losses, *([f"adamw(lr=cosine({rate}))"] if facts.found.attends else [])]
    return f" with {', '.join(items)}" if items else ""


def _called(wish: Wish) -> tuple[str, ...]:
    where = f"on {wish.device}" + (f" in {wish.runtime}" if wish.runtime != "torch" else "")
    inputs = "one input" if wish.batch == 1 else f"{wish.batch} inputs"
    return (f"as it will be called: {inputs} at a time, {where}",)


def measured(facts: Facts, clocks: dict[str, str]) -> Line:
    """The columns of the report."""
    times = [f"${name}" for name in clocks.values()] or ["latency"]
    return Line(f"measure {', '.join(dict.fromkeys([facts.task.metric, *times, 'flops', 'params', 'size']))}")


def removal(facts: Facts, way: Way, budget: Condition, clocks: dict[str, str]) -> Line:
    """`prune … until BUDGET while GUARD`."""
    most = facts.samples.train
    ranked = f" on train(samples={RANKED_BY})" if most > LARGE_DATA and way.criterion != "magnitude" else ""
    text = f"prune {', '.join(way.units)} by {way.criterion} until {spelt(eased(facts, budget), facts, clocks)}"
    why = [*way.why]
    if eased(facts, budget) is not budget:
        why += ["the rest of the budget is left to integers", str(evidence.BOTH_MULTIPLY)]
    guard = (
        f" while {facts.task.metric} {_worse(facts)} < {BROKEN[facts.task.unit]}" if facts.task.unit in BROKEN else ""
    )
    if guard:
        why.append("the guard stops where so much is lost before any recovery that there is nothing to recover")
    if ranked:
        why.append(f"{RANKED_BY:,} images are enough to rank by, as in docs/studies/layers_or_filters.md")
    return Line(f"{text}{guard}{ranked}", tuple(why))


def recovery(facts: Facts) -> Line:
    """Distillation from healthy, as long as the data and our study suggest."""
    samples = facts.samples
    loss = ("kd",) if facts.task.labelled else ()
    epochs = _epochs(samples.train, RECOVERY_IMAGES, *RECOVERY_EPOCHS)
    length = counted(epochs, "epoch")
    if samples.train * epochs > 2 * RECOVERY_IMAGES:
        length = counted(math.ceil(RECOVERY_IMAGES / samples.batch), "step")
    why = (
        f"to recover: {evidence.DISTILLATION}",
        f"{evidence.RECOVERY}; this one sees {_seen(samples, length):,} images",
    )
    return Line(f"distill from healthy for {length}{_optimizer(facts, '1e-4, to=0', *loss)}", why)


def _seen(samples: Samples, length: str) -> int:
    """Images that a training sees: the last incomplete batch of an epoch is left out."""
    number, unit = int(length.split()[0]), length.split()[1]
    return number * samples.batch * (samples.steps if unit.startswith("epoch") else 1)


def sparsity(facts: Facts) -> Iterator[Line]:
    """2:4, only where the device has tensor cores that skip its zeros."""
    if not facts.machine.sparse:
        return
    why = (f"{facts.machine.gpu} has tensor cores that skip the zeros of 2:4", str(evidence.TWO_FOUR))
    yield Line("sparsify nm 2:4", why)
    yield dataclasses.replace(_again(facts), why=("`recovered` is the network before the zeros: a second teacher",))
    yield Line("accelerate", ("each layer by whichever kernel is fastest here, dense ones included",))


def _again(facts: Facts) -> Line:
    first = recovery(facts)
    return Line(first.text.replace("from healthy", "from healthy, recovered").replace("kd", "mis"))


def executes_integers(facts: Facts) -> bool:
    """Whether the runtime of the wish multiplies integers, on a CPU that is fast at it."""
    return facts.wish.runtime in facts.machine.runtimes and facts.machine.multiplies


def integers_suffice(facts: Facts, budget: Condition) -> bool:
    """Whether integers alone are likely to meet the budget: then nothing is removed, which costs more accuracy."""
    bound = _ratio(budget)
    if not executes_integers(facts) or bound is None:
        return False
    return bound[1] >= (INTEGER_TIME if bound[0] == "latency" else INTEGER_SIZE)


def _ratio(budget: Condition) -> tuple[str, float] | None:
    """(metric, bound) of a budget that is one ratio of latency or size."""
    if not isinstance(budget, Test) or budget.reading.form != "ratio" or not isinstance(budget.bound, int | float):
        return None
    name = budget.reading.metric.name
    return (name, float(budget.bound)) if name in ("latency", "size") else None


def eased(facts: Facts, budget: Condition) -> Condition:
    """What removal has to reach: less than the whole budget where integers follow."""
    bound = _ratio(budget)
    if not executes_integers(facts) or bound is None or not isinstance(budget, Test):
        return budget
    rest = INTEGER_TIME if bound[0] == "latency" else INTEGER_SIZE
    return dataclasses.replace(budget, bound=min(0.95, round(bound[1] / rest, 2)))


def integers(facts: Facts, alone: bool) -> Iterator[Line]:
    """8-bit integers, where what executes the network multiplies them."""
    if not executes_integers(facts):
        return
    why = [f"{facts.wish.runtime} multiplies 8-bit integers, and this CPU is fast at it"]
    how = "by mse on train(samples=512)"
    if facts.found.attends and facts.wish.runtime == "onnxruntime":
        how = "by dynamic"
        why.append(str(evidence.INTEGERS_OF_TRANSFORMERS))
    else:
        why += [str(evidence.INTEGERS), str(evidence.INTEGERS_KEEP_ACCURACY)]
    if budget_reads(facts)[1]:
        why.append(str(evidence.INTEGERS_AND_SIZE))
    if alone:
        why.append("that should meet the budget, so nothing is removed; if it does not, ask for a lower one")
    yield Line(f"quantize weights, activations to 8 bits {how}", tuple(why))


CONTROL = Line(
    "control", ("the same training without the surgery: what further training alone does is no merit of the recipe",)
)


def verdict(facts: Facts, way: Way | None, budget: Condition, clocks: dict[str, str]) -> Line:
    """`expect`: the budget, and what quality may be lost."""
    against = "(from=control)" if way is not None or facts.machine.sparse else ""
    lost = f"{facts.task.metric} {_worse(facts)}{against} < {_amount(facts)}"
    what = spelt(budget, facts, clocks)
    what = f"({what})" if isinstance(budget, Any_) else what
    why = "the verdict, on test data: exit code 4 if it does not hold"
    return Line(f"expect {what} and {lost}", (why,))


def _worse(facts: Facts) -> str:
    return "drop" if facts.task.better == "higher" else "rise"


def _amount(facts: Facts) -> str:
    unit = facts.task.unit
    return f"{facts.wish.drop:g}{unit}" if unit in BROKEN else f"{facts.wish.drop:g}"


def _written(facts: Facts) -> Iterator[Line]:
    if facts.wish.runtime != "torch":
        yield Line("export onnx", (f"the program that {facts.wish.runtime} executes",))
    yield Line("report html")
