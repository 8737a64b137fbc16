"""`sensitivity(samples=256)`: each place is quantized alone, and the widths that harm least for a budget are taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Figure, Line, Plot, WidthBench, Widths

if TYPE_CHECKING:
    from recipelang.kinds import Choice


@method("widths", "sensitivity")
@dataclass(frozen=True)
class Sensitivity:
    """Every place is quantized alone at every width; the widths that together harm least are taken for each budget.

    What: a sweep over weights and activations, all others in full precision, says what each width of each place harms.
        Harms and prices are taken to add up, and the assignment is a knapsack with one width for each place, solved for
        all budgets at once: the statement takes the widest one that meets its budget.
    Formula: minimise Σ harm(place, bits) over the widths with Σ price(place, bits) within the budget; harm = divergence
        between the answers with and without this grid (of classes: Σ p · log(p/q), as the task says it). A narrower
        width counts as at least as harmful as every wider one. Exact up to 4,096 undominated sums of (price, harm);
        of more, the best within each 1/4,096 of the range of prices are kept.
    Judged on: a fifth of the training split, which calibration does not see; `samples` of them.
    Needs: one pass over these samples for each width of each place whose price depends on its width.
    When it misleads: places are quantized one at a time, and errors of several can cancel or add up to more than their
        sum; what training would repair looks as sensitive as what it would not.
    Source: Cai et al., "ZeroQ: a novel zero shot quantization framework", CVPR 2020, section 3.3 (sensitivity by
        divergence, Pareto frontier); Dong et al., "HAWQ-V2", NeurIPS 2020, section 3.3.
    """

    looks: ClassVar[int] = 20
    budget: ClassVar[bool] = False

    samples: int = setting(256, type="integer", low=1, positional=True, help="Samples that each width is judged on.")

    def course(self, bench: WidthBench) -> Sequence[Widths]:
        """The undominated widths, from the widest."""
        from recipelang.searching.knapsack import trades
        from recipelang.searching.widths import never_less, priced

        choices, widest = bench.choices, [choice.bits[-1] for choice in bench.choices]
        prices = [list(bench.prices(number)) for number in range(len(choices))]
        open = priced(prices)
        harms = self._swept(bench, open)
        bench.tell(plots=(self._drawn([choices[number] for number in open], harms),) if open else ())
        found = trades(  # the widest first, so that it is taken where nothing distinguishes two widths
            [prices[number][::-1] for number in open], [never_less(each)[::-1] for each in harms]
        )
        course = []
        for options in found:
            widths = list(widest)
            for number, option in zip(open, options, strict=True):
                widths[number] = choices[number].bits[::-1][option]
            course.append(widths)
        bench.tell(figures=(Figure("compared", len(course), noun="assignment"),))
        return course

    def _swept(self, bench: WidthBench, open: Sequence[int]) -> list[list[float]]:
        """The harm of each width of each of these choices, from the narrowest."""
        bench.progress.start("quantizing each place alone", sum(len(bench.choices[number].bits) for number in open))
        none, found = [0] * len(bench.choices), []
        for number in open:
            harms = []
            for bits in bench.choices[number].bits:
                alone = [*none[:number], bits, *none[number + 1 :]]
                key = f"harm {self.samples} {bench.choices[number].place} {bits}"
                harms.append(float(bench.remember(key, partial(bench.harm, alone, self.samples))))
                bench.progress.advance()
            found.append(harms)
        bench.progress.stop()
        return found

    def _drawn(self, choices: Sequence[Choice], harms: Sequence[Sequence[float]]) -> Plot:
        lines = tuple(
            Line(choice.place, tuple(float(bits) for bits in choice.bits), tuple(each))
            for choice, each in zip(choices, harms, strict=True)
        )
        return Plot("Each place quantized alone", "bits", "divergence of the answers", lines)
