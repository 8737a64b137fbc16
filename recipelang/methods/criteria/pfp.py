"""`pfp`, `pfp(draw=top)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import Evidence
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@method("criterion", "pfp")
@dataclass(frozen=True)
class PFP:
    """How large a channel's share of the sums that read it can be; channels are drawn by it, with a bound on the error.

    Formula: sensitivity s_j = max over outputs and rows of the share of channel j in the positive, or the negative,
        terms of a sum Σ w·a (Definition 1); 0 … 1.
    Drawn: channels are drawn with probabilities s_j / Σ s until enough different ones are found, and the rest is
        removed (Algorithm 1). The order in which they first appear is that of clocks e_j / s_j with e_j exponential, so
        the score is s_j / e_j: all groups ranked together have the same error bound ε, as the source allocates them.
        The columns of the weights that read a channel are divided by the probability with which it is drawn, so that
        every sum is right on average (`prune` corrects them before anything is cut).
        `draw=top` keeps the most sensitive ones instead, and corrects nothing.
    Bound: in the note of the step. Given its inputs, no sum that reads the pruned channels changes by more than ε times
        the sum of its absolute terms, with probability 1 − δ: for m = Σs / t draws
        m = (6 + 2ε) Σs · log(4·outputs / δ) / ε² (Theorem 3), with `top` ε = 3 Σ s_j of those removed. On other images
        a channel may contribute up to three times what it did on these rows (Assumption 1 with K = 1). At 1 or more the
        bound says nothing; narrow layers and high ratios have no other.
    Coupled filters: the largest share in any weight that reads the channel. Groups that something else reads (a
        transposed convolution, an LSTM, a computed weight) stay whole.
    Shapes: N channels read by O×I×k×k; N scores, in O(rows·K·O) for each weight.
    Needs: one forward pass over the training images for `rows` rows of every weight that reads; no labels.
    Measured: ResNet-20 for CIFAR-10 (80.4 % of 1,000 test images) has 65.6, 32.6, 26.7 and 16.2 % at 0.9, 0.8, 0.7 and
        0.6 of its FLOPs, without tuning, mean over three seeds; with `top` 58.9, 26.2, 18.1 and 9.6 %, filters in
        random order 47.3, 38.9, 15.3 and 13.7 %. The bound at 0.8 is 9.8: layers of 16 to 64 filters are too narrow for
        it to say anything.
    When it misleads: a share is relative to its sum: a sum that no later layer depends on counts as much as any other,
        and where terms cancel, errors relative to absolute terms may exceed the sum. A single row decides.
    Source: Liebenwein, Baykal, Lang, Feldman, Rus, "Provable filter pruning for efficient neural networks", ICLR 2020;
        for the order of draws and their probabilities: Cohen, Kaplan, "Summarizing data using bottom-k sketches", PODC
        2007.
    """

    unit: ClassVar[str] = "filter"
    needs: ClassVar[tuple[str, ...]] = ("weights", "activations")
    unfit: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("layers", "sparsify"), "it bounds what weights read of a channel"
    )

    draw: str = setting(
        "random",
        type="word",
        choices=("random", "top"),
        help="Whether channels are drawn by their sensitivity, or the most sensitive are kept.",
    )
    rows: int = setting(256, type="integer", low=1, help="Rows of inputs of each weight, drawn from all images.")
    delta: float = setting(0.05, type="number", low=0, high=1, open_low=True, help="How often the bound may fail.")

    def score(self, evidence: Evidence) -> Mapping[str, Tensor]:
        """Group → s_j / e_j, or s_j with `draw=top`, of each channel.

        Raises:
            Refusal: RCP1008: no training images. RCP1010: an input is not finite.
        """
        found = self._sensitivities(evidence)
        if self.draw == "top":
            return found
        random = torch.Generator().manual_seed(evidence.seed)
        clocks = {group: torch.empty(len(s)).exponential_(generator=random) for group, s in found.items()}
        return {group: s / clocks[group].to(s.device) for group, s in found.items()}

    def compensate(self, evidence: Evidence, gone: Mapping[str, Sequence[int]]) -> Mapping[str, Tensor]:
        """Name of a weight that reads pruned groups → its values, the columns of a channel that stays divided by the
        probability with which it is drawn."""
        from recipelang.measuring.sensitivity import inclusion, scaled_columns

        if self.draw == "top":
            return {}
        scores, found = self.score(evidence), self._sensitivities(evidence)
        values: dict[str, Tensor] = {}
        for group, parts in gone.items():
            if group in scores and parts:
                chance = inclusion(found[group], float(scores[group][list(parts)].max()))
                chance[list(parts)] = 1.0  # they are removed
                for name, columns in evidence.readers[group].items():
                    weight = values.get(name, evidence.weights[name].detach())
                    values[name] = scaled_columns(weight, columns, 1 / chance)
        return values

    def remark(self, evidence: Evidence, gone: Mapping[str, Sequence[int]]) -> str:
        """The error bound of this removal, of the group where it is largest."""
        bounds = self.bounds(evidence, gone)
        if not bounds:
            return ""
        worst = max(bounds, key=bounds.__getitem__)
        middle = sorted(bounds.values())[len(bounds) // 2]
        void = "" if bounds[worst] < 1 else ", which from 1 on says nothing"
        return (
            f"error bound {bounds[worst]:.2g} at `{worst}`{void} (median of {len(bounds)} groups {middle:.2g}): given "
            f"its inputs, no sum that reads them changes by more than this times the sum of its absolute terms, with "
            f"probability {1 - self.delta:g}"
        )

    def bounds(self, evidence: Evidence, gone: Mapping[str, Sequence[int]], unseen: float = 3.0) -> dict[str, float]:
        """Group → the bound ε of its removal.

        Args:
            gone: group → numbers of the removed parts.
            unseen: how many times more than on the rows seen a channel may contribute; 1 for these rows themselves.
        """
        from recipelang.measuring.sensitivity import sampling_error

        scores, found = self.score(evidence), self._sensitivities(evidence)
        groups = {group: list(parts) for group, parts in gone.items() if parts and group in scores}
        if self.draw == "top":
            return {group: unseen * float(found[group][parts].sum()) for group, parts in groups.items()}
        read = {name for group in groups for name in evidence.readers[group]}
        outputs = sum(len(evidence.weights[name]) for name in read)
        return {
            group: sampling_error(float(scores[group][parts].max()), outputs, self.delta, unseen)
            for group, parts in groups.items()
        }

    def _sensitivities(self, evidence: Evidence) -> Mapping[str, Tensor]:
        """Group → s_j of each channel."""
        return evidence.kept((type(self), self.rows), lambda: self._measured(evidence))

    def _measured(self, evidence: Evidence) -> Mapping[str, Tensor]:
        from recipelang.measuring.sensitivity import sensitivities

        readers = {group: weights for group, weights in evidence.readers.items() if not evidence.hidden[group]}
        names = list(dict.fromkeys(name for weights in readers.values() for name in weights))
        rows = evidence.reconstructions(names, self.rows)
        found: dict[str, Tensor] = {}
        for group, weights in readers.items():
            for name, columns in weights.items():
                share = sensitivities(rows[name][0], evidence.weights[name].detach(), columns)
                found[group] = torch.maximum(found[group], share) if group in found else share
        return found
