"""`similarity`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Evidence
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@method("criterion", "similarity")
@dataclass(frozen=True)
class Similarity:
    """How far a channel is from the one most like it, which can take its place where it is read.

    Formula: s_ij = ⟨a_j²⟩ · ‖w_i − w_j‖², w a channel's weights and bias, a the weights that read it. The pair with the
        smallest s_ij is found, channel j is removed, a_i ← a_i + a_j, and so on (the paper's algorithm). The score of a
        channel is s_ij when it is removed; where a later pair has a smaller one, because a_i became smaller, its score
        stays at the larger, so that scores are in the order of removal.
    Corrects: a_i ← a_i + a_j for every removed channel j and the channel i nearest to it at that moment, in all layers
        that read them. Where two channels are equal, the network computes what it did.
    BatchNorm: between a weight and its activation it is folded into w and the bias, as in the paper's networks, which
        have none: γ/σ · w, β + (b − μ)·γ/σ. Where a norm acts on a sum, w is what it makes of the sum's weights.
    Coupled channels: w holds the weights of all layers that make the channel, also those of depthwise convolutions, so
        two channels are alike only if they are in all of them; ⟨a²⟩ is the mean over all layers that read it. Ranked
        across groups, a score is divided by the mean of its group, since it grows with the scale of the weights.
    Shapes: N channels; w N×K, s N×N, in O(N²·K).
    Needs: weights alone, no data.
    Does not apply: weights with masks or grids are not corrected, nor are recurrent cells and weights computed from
        parameters, which lose the channel.
    Measured: ResNet-56 for CIFAR-10 (91.1 % of 1,000 test images) has 84.1, 68.9 and 41.1 % at 0.8, 0.7 and 0.6 of its
        FLOPs, without tuning; without the correction 80.4, 55.5 and 35.9 %.
    When it misleads: the bound holds for inputs of equal energy, and takes weights as near only where they are equal up
        to noise: of a trained network few are, so it serves where layers are far wider than needed. A pair of opposite
        channels, of which one could be expressed by the other, counts as different.
    Source: Srinivas, Babu, "Data-free parameter pruning for deep neural networks", BMVC 2015.
    """

    unit: ClassVar[str] = "filter"
    needs: ClassVar[tuple[str, ...]] = ("weights",)
    relative: ClassVar[bool] = True
    unfit: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("layers", "sparsify"), "it replaces a channel by another one where both are read"
    )

    def score(self, evidence: Evidence) -> Mapping[str, Tensor]:
        """Group → N saliencies, in the order in which channels would be removed; groups that no weight reads are left
        out."""
        found = {}
        for group, distances in _distances(evidence).items():
            reading = _reading(evidence, group)
            if reading:
                found[group] = _saliencies(distances, _products(reading))
        return found

    def compensate(self, evidence: Evidence, gone: Mapping[str, Sequence[int]]) -> Mapping[str, Tensor]:
        """Weight → its values with the columns of each removed channel added to those of the nearest."""
        values: dict[str, Tensor] = {}
        for group, distances in _distances(evidence).items():
            heirs = _heirs(distances, gone.get(group, ()))
            for place in _places(evidence, group) if heirs else ():
                weight = values.setdefault(place.name, evidence.weights[place.name].detach().clone())
                columns = weight.movedim(place.axis, 0)
                for part, heir in heirs:
                    columns[list(place.positions[heir])] += columns[list(place.positions[part])]
        return values


def _distances(evidence: Evidence) -> dict[str, Tensor]:
    """Group → N×N ‖w_i − w_j‖², infinite on the diagonal."""
    found = {}
    for group, rows in evidence.effective.items():
        squares = torch.cdist(rows, rows, compute_mode="use_mm_for_euclid_dist").square()
        found[group] = squares.fill_diagonal_(torch.inf)
    return found


def _places(evidence: Evidence, name: str) -> list[Any]:
    """Where weights read the channels of a group."""
    group = next(group for group in evidence.groups if group.name == name)
    return [place for place in group.source.at("reads") if place.name in evidence.weights]


def _reading(evidence: Evidence, group: str) -> list[Tensor]:
    """N×numbers: what each weight multiplies a channel with."""
    return [
        evidence.weights[place.name].detach().movedim(place.axis, 0)[torch.tensor(place.positions)].flatten(1).cpu()
        for place in _places(evidence, group)
    ]


def _products(reading: Sequence[Tensor]) -> Tensor:
    """N×N: the mean of a_i · a_j over all weights that read."""
    return sum((rows.double() @ rows.double().mT for rows in reading), start=torch.zeros(())) / sum(
        rows.shape[1] for rows in reading
    )


def _saliencies(distances: Tensor, products: Tensor) -> Tensor:
    """N×N ‖w_i − w_j‖² and ⟨a_i a_j⟩ → N: s when each channel is removed; that of the last one is above all."""
    left, shared = distances.clone(), products.clone()
    nearest, heirs = left.min(0)  # of each channel j: ‖w_i − w_j‖² and i
    scores = torch.zeros(len(left), dtype=torch.float64)
    last = 0.0
    for _ in range(len(left) - 1):
        saliency = nearest * shared.diagonal()
        saliency[nearest.isinf()] = torch.inf
        part = int(saliency.argmin())
        last = scores[part] = max(float(saliency[part]), last * (1 + 1e-9), last + 1e-300)
        heir = int(heirs[part])
        shared[heir] += shared[part]
        shared[:, heir] += shared[:, part]
        left[part] = left[:, part] = nearest[part] = torch.inf
        orphans = (heirs == part) & ~nearest.isinf()
        nearest[orphans], heirs[orphans] = left[:, orphans].min(0)
    scores[scores == 0] = last * (1 + 1e-9) + 1e-300
    return scores


def _heirs(distances: Tensor, gone: Sequence[int]) -> list[tuple[int, int]]:
    """(removed, the nearest that is there then), in the order of removal."""
    left, found = distances.clone(), []
    for part in gone:
        found.append((part, int(left[:, part].argmin())))
        left[part] = torch.inf
    return found
