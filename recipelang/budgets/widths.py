"""The bench of a search for widths: networks with some widths, what they cost, and how far their answers are off."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from recipelang.budgets.bench import BRIEF, Told
from recipelang.budgets.conditions import Value
from recipelang.budgets.held import Division
from recipelang.budgets.memory import Memory, memory_of
from recipelang.budgets.verdict import Verdict
from recipelang.images.batches import count, moved
from recipelang.kinds import Ablation, Batch, Choice, Figure, Plot, Progress, Task, Widths
from recipelang.plan import All, Condition, Reading, Test, canonical, tests_of
from recipelang.scoring.ablation import measured_on
from recipelang.surgery.network import Network
from recipelang.surgery.simulated import running
from recipelang.training.machine import reproducible, to_device
from recipelang.units import counted


@dataclass
class WidthsBench:
    """See `kinds.WidthBench` for what the attributes and methods guarantee.

    Attributes:
        choices: what may have several widths.
        whole: the network before.
        make: the network with these widths; 0 is full precision.
        until: the budget; None without one.
        read, judge, glance: as of a stage's context.
        division: of the data.
        decides: what decides the grids beside the widths, as JSON: method, samples.
        search: the method; its settings decide what is found out.
        told: what it has said.
    """

    choices: Sequence[Choice]
    whole: Network
    make: Callable[[Widths], Network]
    until: Condition | None
    read: Callable[[Reading, Network], float]
    judge: Callable[[Condition, Network, bool], Verdict]
    glance: Callable[[Reading, Network], Value] | None
    division: Division
    decides: Any
    search: Any
    task: Task
    seed: int
    device: str
    threads: int
    folder: Path
    progress: Progress
    smoke: bool
    told: list[Told] = field(default_factory=list)

    def __enter__(self) -> WidthsBench:
        return self

    def __exit__(self, *_: object) -> None:
        """Keep what was found out, also where the search was interrupted."""
        self.progress.stop()
        self._memory.save()

    def network(self, widths: Widths) -> Network:
        """The network with these widths."""
        return self.make(widths)

    @property
    def widest(self) -> list[int]:
        """The most bits of every choice."""
        return [choice.bits[-1] for choice in self.choices]

    # -- what it costs ---------------------------------------------------------------------------------

    def prices(self, choice: int) -> Sequence[float]:
        """What a choice costs at each of its widths, relative to its widest."""
        if self.until is None:
            one = self.choices[choice]
            return [one.elements * (bits - one.bits[-1]) / self._all_bits for bits in one.bits]
        found = [0.0] * len(self.choices[choice].bits)
        for test in tests_of(self.until):
            sign = 1 if test.operator in ("<", "<=") else -1
            found = [
                all_ + sign * own / self._bound(test)
                for all_, own in zip(found, self._table(test, choice), strict=True)
            ]
        return found

    def price(self, widths: Widths) -> float:
        """The largest reading/bound, or the part of all bits."""
        if self.until is None:
            bits = sum(one.elements * (here or 32) for one, here in zip(self.choices, widths, strict=True))
            return bits / self._all_bits
        return self._price(self.until, widths)

    def met(self, widths: Widths) -> bool:
        """Whether the budget surely holds."""
        return self.until is None or self.judge(self.until, self.network(widths), True).holds

    def _price(self, until: Condition, widths: Widths) -> float:
        if not isinstance(until, Test):
            return (max if isinstance(until, All) else min)(self._price(inner, widths) for inner in until.tests)
        value = self._base(until)
        for number, (choice, bits) in enumerate(zip(self.choices, widths, strict=True)):
            value += self._table(until, number)[choice.bits.index(bits)]
        bound = self._bound(until)
        small, large = (value, bound) if until.operator in ("<", "<=") else (bound, value)
        return max(small, 0.0) / large if large > 0 else math.inf

    @cached_property
    def _all_bits(self) -> int:
        return max(1, sum(choice.elements * choice.bits[-1] for choice in self.choices))

    def _bound(self, test: Test) -> float:
        return self.read(test.bound, self.whole) if isinstance(test.bound, Reading) else test.bound

    def _base(self, test: Test) -> float:
        """What a test reads where everything is as wide as it may be."""
        return self._looked(test.reading, self.widest).value

    def _table(self, test: Test, choice: int) -> Sequence[float]:
        """What a test reads with one choice at each of its widths, less what it reads at its widest."""
        one, tables = self.choices[choice], self._tables.setdefault(json.dumps(canonical(test.reading)), {})
        alike = replace(one, place="", layer="")
        if alike not in tables:
            tables[alike] = tuple(self._difference(test.reading, choice, bits) for bits in one.bits)
        return tables[alike]

    @cached_property
    def _tables(self) -> dict[str, dict[Choice, tuple[float, ...]]]:
        """Reading → choices that are alike → their table."""
        return {}

    def _difference(self, reading: Reading, choice: int, bits: int) -> float:
        """By how much a reading differs where one choice has these bits; 0 where a clock cannot tell."""
        widths = self.widest
        if bits == widths[choice]:
            return 0.0
        if reading.metric.source == "clock" and not self._responds(reading):
            return 0.0
        before = self._looked(reading, widths)
        widths[choice] = bits
        after = self._looked(reading, widths)
        apart = after.high < before.low or after.low > before.high or after.low == after.high
        return after.value - before.value if apart else 0.0

    def _responds(self, reading: Reading) -> bool:
        """Whether a clock distinguishes any width that all choices can have from the widest."""
        every = sorted({bits for choice in self.choices for bits in choice.bits}, reverse=True)
        before = self._looked(reading, self.widest)
        for bits in every[1:]:
            nearest = [min(choice.bits, key=lambda own: (abs(own - bits), own)) for choice in self.choices]
            after = self._looked(reading, nearest)
            if after.high < before.low or after.low > before.high:
                return True
        return False

    def _looked(self, reading: Reading, widths: Widths) -> Value:
        """A reading of these widths, of a clock briefly; what a clock said is kept, so that a search that continues
        decides the same."""
        key = f"{BRIEF}{json.dumps(canonical(reading), sort_keys=True)} {list(widths)}"
        if reading.metric.source == "clock" and self.glance is not None:

            def look() -> tuple[float, float, float]:
                assert self.glance is not None
                found = self.glance(reading, self.network(widths))
                return found.value, found.low, found.high

            return Value.between(self.remember(key, look))
        if key not in self._computed:
            self._computed[key] = self.read(reading, self.network(widths))
        return Value.exactly(self._computed[key])

    @cached_property
    def _computed(self) -> dict[str, float]:
        return {}

    def tell_clocks(self) -> None:
        """Add how often clocks were read, how sure they were, and whether they see any width."""
        brief = [value for key, value in self._memory.known.items() if key.startswith(BRIEF)]
        if not brief:
            return
        half = median((high - low) / 2 / value for value, low, high in brief)
        note = f"clocks: {counted(len(brief), 'brief measurement')}, ± {100 * half:.1f} % (median, 95 %)"
        for test in tests_of(self.until):
            if test.reading.metric.source == "clock" and not self._responds(test.reading):
                name = test.reading.metric.name
                note += f"; {name} does not depend on the width: what executes here is as fast with all of them"
        self.tell(note=note)

    # -- how well it does ------------------------------------------------------------------------------

    def harm(self, widths: Widths, samples: int) -> float:
        """How far its answers are from those of the network before."""
        total, seen = 0.0, 0
        batches = self._batches(samples)
        with self._live(self.network(widths)) as live:
            for (inputs, targets), teacher in zip(batches, self._answers(samples), strict=True):
                answer = self.task.answer(live(inputs), targets, self.division.rest.labels)
                total += float(self.task.divergence(answer, teacher)) * count(inputs)
                seen += count(inputs)
        found = total / max(seen, 1)
        return found if math.isfinite(found) else math.inf

    def score(self, widths: Widths) -> Ablation:
        """Loss and score on the samples that are held out."""
        batches = self._batches(self.division.held.size("train"))
        with self._live(self.network(widths)) as live:
            found = measured_on(live, batches, self.task, self.division.rest.labels)
        return found if math.isfinite(found.loss) else found._replace(loss=math.inf)

    @contextmanager
    def _live(self, network: Network) -> Iterator[nn.Module]:
        """What computes as the network does, on the device, without gradients."""
        live = running(replace(network, module=self._module))
        with reproducible(self.seed, self.device, self.threads), torch.no_grad():
            yield live

    @cached_property
    def _module(self) -> nn.Module:
        """The module of all these networks, which differ in their grids alone."""
        return to_device(self.whole.clone().module.eval(), self.device)

    def _answers(self, samples: int) -> Sequence[Any]:
        """The answers of the network before, batch by batch."""
        if samples not in self._kept_answers:
            labels = self.division.rest.labels
            with self._live(self.whole) as live:
                found = [self.task.answer(live(inputs), targets, labels) for inputs, targets in self._batches(samples)]
            self._kept_answers[samples] = found
        return self._kept_answers[samples]

    @cached_property
    def _kept_answers(self) -> dict[int, Sequence[Any]]:
        return {}

    def _batches(self, samples: int) -> Sequence[Batch]:
        """The first samples that are held out, in an order of their own, on the device."""
        if samples not in self._kept_batches:
            held = self.division.held
            given = held.batches("train", samples=min(samples, held.size("train")), seed=self.seed)
            self._kept_batches[samples] = [
                Batch(moved(inputs, self.device), moved(targets, self.device)) for inputs, targets in given
            ]
        return self._kept_batches[samples]

    @cached_property
    def _kept_batches(self) -> dict[int, Sequence[Batch]]:
        return {}

    # -- what stays of it ------------------------------------------------------------------------------

    def remember(self, key: str, make: Callable[[], Any]) -> Any:
        """What `make` gives, as JSON, kept in the step's folder."""
        return self._memory.of(key, make)

    def tell(self, figures: Sequence[Figure] = (), note: str = "", plots: Sequence[Plot] = ()) -> None:
        """Add to what the record says of the step."""
        self.told.append(Told(tuple(figures), note, tuple(plots)))

    @cached_property
    def _memory(self) -> Memory:
        """What the search has found out so far."""
        own = {
            "search": canonical(self.search),
            "choices": [[choice.place, *choice.bits] for choice in self.choices],
            "grids": self.decides,
        }
        return memory_of(self, "search-widths.json", own)
