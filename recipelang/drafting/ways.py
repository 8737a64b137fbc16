"""What a first recipe may remove to meet its budget, ranked by what, and why.

Which parts go for which device, batch and budget follows the guidelines of Elkerdawy 2022, chapters 4, 5 and 8, as far
as our own studies agree (`evidence`); where they do not, the studies decide.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from recipelang.drafting import evidence
from recipelang.drafting.facts import Facts
from recipelang.units import counted, listed

#: inputs of one call from which a GPU is busy enough for narrow layers to save time
LARGE_BATCH = 32
#: validation data this small ranks layers too coarsely
FEW_TO_RANK = 100


@dataclass(frozen=True)
class Way:
    """What is removed, ranked by what, and why: `prune layers by imprint until …`."""

    units: tuple[str, ...]
    criterion: str
    why: tuple[str, ...] = ()

    @property
    def named(self) -> str:
        """The units in words."""
        return listed(self.units)


def ways(facts: Facts) -> tuple[Way, ...]:
    """What may be removed to meet the budget, the best choice first; the plan decides which can reach it."""
    timed, structural = budget_reads(facts)
    found = _for_time(facts, both=structural) if timed else _for_structure(facts)
    return tuple(way for way in found if all(facts.found.has(unit) for unit in way.units))


def budget_reads(facts: Facts) -> tuple[bool, bool]:
    """Whether the budget reads a clock, and whether it reads the structure; the default budget is a time."""
    sources = {test.reading.metric.source for test in facts.wish.tests} or {"clock"}
    return "clock" in sources, "structure" in sources


def _for_time(facts: Facts, both: bool) -> list[Way]:
    layers = Way(("layers",), layer_criterion(facts), (*_why_layers(facts), *_why_criterion(facts)))
    several = _several(facts)
    narrow = _narrow(facts, ("nothing else can go: fewer channels of each layer may save little time",))
    if both:
        return [dataclasses.replace(several, why=(BOTH_COSTS, *several.why)), layers, *narrow]
    if facts.on_gpu and facts.wish.batch >= LARGE_BATCH:
        return [dataclasses.replace(several, why=(str(evidence.LARGE_BATCHES_ON_A_GPU), DECIDES)), layers, *narrow]
    return [layers, dataclasses.replace(several, why=("layers alone do not reach the budget", DECIDES)), *narrow]


def _for_structure(facts: Facts) -> list[Way]:
    if facts.found.attends:
        why = ("heads of attention and neurons of the MLPs hold most of a transformer", str(evidence.COVERED))
        return [Way(("heads", "neurons"), "taylor", why), *_narrow(facts, ()), Way(("layers",), layer_criterion(facts))]
    why = ("the budget counts operations or bytes", str(evidence.FILTERS_AT_EQUAL_FLOPS))
    return [*_narrow(facts, why), _several(facts), Way(("layers",), layer_criterion(facts), _why_criterion(facts))]


BOTH_COSTS = "one budget is a time and another is not: a layer may win more of the one, filters more of the other"
DECIDES = "whichever loses least importance for what it wins of the budget goes next"


def _several(facts: Facts) -> Way:
    """Layers together with what is narrow; importance of `taylor` adds up over both."""
    units = ("layers", "heads", "neurons") if facts.found.attends else ("layers", "filters")
    return Way(units, "taylor", (DECIDES,))


def _narrow(facts: Facts, why: tuple[str, ...]) -> list[Way]:
    """Parts of every layer: heads and neurons of a transformer, filters of a convolutional network, neurons."""
    magnitude = str(evidence.FILTERS_BY_MAGNITUDE)
    filters = Way(("filters",), "magnitude", (*why, magnitude))
    neurons = Way(("neurons",), "magnitude", why)
    heads = Way(("heads", "neurons"), "taylor", (*why, str(evidence.COVERED)))
    return [heads, neurons] if facts.found.attends else [filters, neurons]


def _why_layers(facts: Facts) -> tuple[str, ...]:
    if facts.on_gpu:
        return (f"whole layers: {evidence.SMALL_BATCHES_ON_A_GPU}",)
    if facts.found.attends:
        return ("whole layers: fewer of them save time on any device, whatever the batch (Elkerdawy 2022, chapter 8)",)
    return (f"whole layers: {evidence.LAYERS_SAVE_TIME}", str(evidence.LAYERS_AT_DEEP_CUTS))


def layer_criterion(facts: Facts) -> str:
    """`imprint` where there are classes and enough validation images to rank by, else `taylor`."""
    return "imprint" if facts.task.one_class and facts.samples.val >= FEW_TO_RANK else "taylor"


def _why_criterion(facts: Facts) -> tuple[str, ...]:
    if layer_criterion(facts) == "imprint":
        return ("`imprint` asks how much better the classes can be told apart after a layer than before it",)
    if facts.task.one_class:
        return (f"{counted(facts.samples.val, 'validation image')} rank layers too coarsely for `imprint`",)
    return ("`imprint` needs one class for each image, which the task does not have",)
