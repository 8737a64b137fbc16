"""Knockoffs of features: counterfeits with the same means and covariances that know nothing of the labels.

A knockoff x̃ of features x has E x̃ = E x, Cov x̃ = Cov x = Σ and Cov(x, x̃) = Σ − S with a diagonal S ≥ 0, so that no
first or second moment changes when some features and their knockoffs are exchanged; and given x, it is independent of
everything else. With Ω = Σ⁻¹ that is

    x̃ = μ + (I − SΩ)(x − μ) + (2S − SΩS)^½ Σ^-½ (x′ − μ),    x′ the features of another sample

The last term is noise with the covariance that is missing. Taken from another sample instead of a normal distribution,
it has the spatial structure of features; its second moments are the same. Symmetric roots mix the
channels least, so that the noise of a channel is like that channel.

Sources: Candès, Fan, Janson, Lv, "Panning for gold: model-X knockoffs", JRSS B 2018, section 3.4.1 (second-order
knockoffs); S: Liu, Rigollet, "Power analysis of knockoff filters for correlated designs", NeurIPS 2019 (conditional
independence: S_jj = 1/Ω_jj, shrunk as far as 2Σ − S ≥ 0 needs it).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from recipelang.kinds import Batch, Evidence
from recipelang.measuring.gates import Gates, descend, gates_of, in_order, minibatches
from recipelang.surgery.finite import not_finite

#: how far correlations are shrunk to zero: with it, a feature that repeats another has a knockoff that repeats it too
SHRINKAGE = 1e-2
#: what 2Σ − S keeps of its smallest eigenvalue against rounding
SLACK = 1e-6


@dataclass(frozen=True)
class Knockoffs:
    """How N features become their knockoffs.

    Attributes:
        mean: N.
        own, other: N×N, what a sample's features and those of another sample count.
        spread: N, the standard deviations.
    """

    mean: Tensor
    own: Tensor
    other: Tensor
    spread: Tensor

    def of(self, maps: Tensor, others: Tensor) -> Tensor:
        """B×N×P → the knockoffs, B×N×P.

        Args:
            others: of each sample the number of the one that its noise is taken from, B.
        """
        centred = maps - self.mean[:, None]
        return self.mean[:, None] + self.own @ centred + self.other @ centred[others]


class Moments:
    """Means and covariances of N features, added up map by map in float64."""

    def __init__(self) -> None:
        self._rows, self._sum, self._products = 0, torch.zeros(()), torch.zeros(())

    def add(self, maps: Tensor) -> None:
        """B×N×P."""
        rows = maps.movedim(1, 0).flatten(1).double()
        self._rows += rows.shape[1]
        self._sum = self._sum.to(rows.device) + rows.sum(1)
        self._products = self._products.to(rows.device) + rows @ rows.T

    @property
    def finite(self) -> bool:
        """Whether every number was."""
        return bool(torch.isfinite(self._products).all())

    def knockoffs(self) -> Knockoffs:
        """Of what was added."""
        mean = self._sum / self._rows
        return second_order(mean, self._products / self._rows - mean[:, None] * mean)


def second_order(mean: Tensor, covariance: Tensor, shrinkage: float = SHRINKAGE) -> Knockoffs:
    """The knockoffs of features with these moments.

    A feature without variance is its own knockoff.

    Args:
        mean: N. covariance: N×N, float64.
        shrinkage: 0 … 1, of the correlations to zero.
    """
    variance = covariance.diagonal().clamp_min(0)
    alive = (variance > 1e-12 * variance.max().clamp_min(1e-30)) & (variance > 1e-10 * mean.square())
    scale = torch.where(alive, variance, 1.0).sqrt()
    eye = torch.eye(len(mean), dtype=covariance.dtype, device=covariance.device)
    linked = alive[:, None] & alive & ~eye.bool()
    correlation = torch.where(linked, (1 - shrinkage) * covariance / (scale[:, None] * scale), eye)
    values, vectors = torch.linalg.eigh(correlation)
    values = values.clamp_min(max(shrinkage / 2, 1e-9))
    inverse = (vectors / values) @ vectors.T
    s = _diagonal(correlation, inverse) * alive
    own = eye - s[:, None] * inverse
    white = (vectors / values.sqrt()) @ vectors.T
    noise = _root(2 * s.diag() - s[:, None] * inverse * s) @ white
    back = scale[:, None] / scale  # from standardised features to those as they are
    return Knockoffs(mean.float(), (own * back).float(), (noise * back).float(), variance.sqrt().float())


def _diagonal(correlation: Tensor, inverse: Tensor) -> Tensor:
    """S_jj: the variance of a feature that the others do not explain, less where 2Σ − S would not be ≥ 0."""
    alone = 1 / inverse.diagonal()
    root = alone.sqrt()
    least = torch.linalg.eigvalsh(correlation / (root[:, None] * root))[0]
    return alone * (2 * least * (1 - SLACK)).clamp(0, 1)


def _root(matrix: Tensor) -> Tensor:
    """The symmetric square root of a matrix without negative eigenvalues: of all roots, it moves features least."""
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * values.clamp_min(0).sqrt()) @ vectors.T


def contest(
    evidence: Evidence, samples: int, steps: int, rate: float, size: int
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Every part of every ranked group against its knockoff.

    Args:
        samples: training images. steps, rate, size: of Adam, and the images of a step.

    Returns:
        group → the standard deviation of each part, the mean over the places where it is read, and group → β: the
        share of each part in what takes its place, 0 … 1, the rest of it being the knockoff.

    Raises:
        Refusal: RCP1005: the loss is not finite. RCP1008: no training images. RCP1010: a feature is not finite.
    """
    gates, held = gates_of(evidence), evidence.drawn(samples)
    if not gates.total:
        return {}, {}
    random = torch.Generator().manual_seed(evidence.seed)
    known = knockoffs_of(evidence, gates, held, size)
    device = next(iter(known.values())).mean.device
    share = torch.full((gates.total,), 0.5, device=device, requires_grad=True)

    def loss(batch: Batch) -> Tensor:
        shares = gates.each(share)

        def mixed(name: str, tensor: Tensor) -> Tensor:
            others = torch.randperm(len(tensor), generator=random).to(device)
            for group, channels in gates.places.get(name, ()):
                maps = _parts(tensor, channels)
                fake = known[name, group].of(maps, others)
                tensor = _put(tensor, channels, maps + (1 - shares[group])[:, None] * (fake - maps))
            return tensor

        with evidence.changing(mixed):
            return evidence.answer_loss(batch)

    def bounded() -> None:
        share.data.clamp_(0, 1)

    descend(evidence, (share,), loss, minibatches(held, size, random), steps, rate, "contest with knockoffs", bounded)
    spreads: dict[str, list[Tensor]] = {}
    for (_, group), knockoffs in known.items():
        spreads.setdefault(group, []).append(knockoffs.spread)
    return {group: torch.stack(each).mean(0) for group, each in spreads.items()}, gates.each(share.detach())


@torch.no_grad()
def knockoffs_of(evidence: Evidence, gates: Gates, held: Batch, size: int) -> dict[tuple[str, str], Knockoffs]:
    """(weight, group) → the knockoffs of the group's parts where the weight reads them."""
    moments: dict[tuple[str, str], Moments] = {}

    def add(name: str, tensor: Tensor) -> Tensor:
        for group, channels in gates.places.get(name, ()):
            moments.setdefault((name, group), Moments()).add(_parts(tensor, channels))
        return tensor

    with evidence.changing(add):
        for batch in in_order(held, size):
            evidence.answer_loss(batch)
    for (name, _), found in moments.items():
        if not found.finite:
            raise not_finite(f"an input of `{name}`")
    return {place: found.knockoffs() for place, found in moments.items()}


def _parts(tensor: Tensor, channels: Tensor) -> Tensor:
    """n×C×… → n×N×P: the channels of each of N parts, several channels as positions."""
    return tensor[:, channels.to(tensor.device)].flatten(2)


def _put(tensor: Tensor, channels: Tensor, parts: Tensor) -> Tensor:
    """n×C×… with n×N×P in the place of some channels."""
    new = parts.reshape(len(tensor), channels.numel(), *tensor.shape[2:]).to(tensor.dtype)
    return tensor.index_copy(1, channels.flatten().to(tensor.device), new)
