"""What the layers after a group of channels make of each of them, and how they make up for those that are removed.

A reader computes y = Σ_j z_j, z_j = W_j x_j: W_j its columns for part j of a group, x_j the inputs that they multiply.
Everything here follows from second moments, so that all rows of all images count and none has to be kept:

    ⟨z_i, z_j⟩ = Σ_{k of i, l of j} (WᵀW)_kl · (XᵀX)_kl

Readers of very many inputs, as after the flatten of a VGG, have moments of gigabytes: there a sample of rows and
outputs stands for all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from recipelang.kinds import Evidence, as_matrices

#: largest number of inputs of a reader whose K×K moments are gathered: 0.5 GB in float64
LARGEST = 8192
#: rows and outputs that are drawn where a reader has more inputs
ROWS, OUTPUTS = 1024, 256


@dataclass(frozen=True)
class Contributions:
    """What the readers of a group make of each of its N parts.

    Attributes:
        products: N×N float64, ⟨z_i, z_j⟩, of each reader relative to the energy ⟨y, y⟩ of its outputs; the mean over
            the readers.
        sizes: N, ‖W_j‖², relative and averaged in the same way.
    """

    products: Tensor
    sizes: Tensor


@dataclass(frozen=True)
class Reader:
    """A weight that reads channels, and what is known of its inputs.

    Attributes:
        name: of the parameter.
        weight: it, as it is.
        matrix: G×O×K float64: its rows for each of G groups of inputs; K in the order kernel…, I.
        inputs: G×K×K float64, 2/n · XᵀX of n rows; or, of a weight with very many inputs, G×n×K float64 with √(2/n)
            times each row.
    """

    name: str
    weight: Tensor
    matrix: Tensor
    inputs: Tensor
    sampled: bool

    @property
    def width(self) -> int:
        """The number of its columns, G·K."""
        return self.matrix.shape[0] * self.matrix.shape[2]

    def products(self, parts: Tensor, count: int) -> Tensor:
        """⟨z_i, z_j⟩ of some parts and, last, of all columns that are of none: (count+1)×(count+1).

        Args:
            parts: G·K, the number of the part of every column, or `count`.
            count: of parts.
        """
        found = self.matrix.new_zeros(count + 1, count + 1)
        by_group = parts.unflatten(0, (len(self.matrix), -1))
        for matrix, inputs, ids in zip(self.matrix, self.inputs, by_group, strict=True):
            if self.sampled:
                found += _sampled_products(matrix, inputs, ids, count)
            else:
                shared = matrix.mT @ matrix * inputs
                found.index_add_(1, ids, shared.new_zeros(count + 1, len(ids)).index_add_(0, ids, shared))
        return found

    def replaced(self, gone: Tensor, damp: float) -> Tensor:
        """The weight whose outputs without some inputs are nearest to those with them: least squares.

        Δ = W_T M_TS (M_SS + δI)⁻¹ is added to the columns S that stay, T those that go; δ = damp · mean(diag M_SS)
        keeps it near the weight that it was, so the error is never above that without a correction.

        Args:
            gone: G·K bool, the columns that are removed.
        """
        new = self.matrix.clone()
        for matrix, inputs, going in zip(new, self.inputs, gone.unflatten(0, (len(new), -1)), strict=True):
            if bool(going.any()) and not bool(going.all()):
                matrix[:, ~going] += _makes_up(matrix[:, going], inputs, going, damp, self.sampled)
        return self._as_weight(new)

    def scaled(self, factors: Tensor) -> Tensor:
        """The weight with each of its G·K columns times a factor."""
        return self._as_weight(self.matrix * factors.unflatten(0, (len(self.matrix), 1, -1)))

    def _as_weight(self, matrix: Tensor) -> Tensor:
        like = self.weight
        return matrix.flatten(0, 1).reshape(like.movedim(1, -1).shape).movedim(-1, 1).contiguous().to(like.dtype)


def readers(evidence: Evidence, names: Sequence[str]) -> Iterator[Reader]:
    """These weights with their inputs; one pass for as many as fit in memory. Without inputs they are left out.

    Raises:
        Refusal: RCP1008: no training samples. RCP1010: an input is not a finite number.
    """
    wide = [name for name in names if evidence.weights[name][0].numel() > LARGEST]
    for name, moments in evidence.second_moments(name for name in names if name not in wide):
        yield _reader(evidence, name, moments.double(), sampled=False)
    for name in wide:  # one after another: the rows of each may take much memory
        for rows, _ in evidence.reconstructions([name], ROWS).values():
            yield _reader(evidence, name, rows.double() * (2 / rows.shape[1]) ** 0.5, sampled=True)


def _reader(evidence: Evidence, name: str, inputs: Tensor, sampled: bool) -> Reader:
    weight = evidence.weights[name].detach()
    return Reader(name, weight, as_matrices(weight, len(inputs)).double(), inputs, sampled)


def contributions(evidence: Evidence) -> dict[str, Contributions]:
    """Group → what its readers make of its parts; groups without a reader whose inputs are known are left out.

    Raises:
        Refusal: RCP1008: no training samples. RCP1010: an input is not a finite number.
    """
    groups = _by_reader(evidence)
    sums: dict[str, list[Tensor]] = {}
    for reader in readers(evidence, list(groups)):
        squares = reader.matrix.square().sum(1).flatten()
        for group, columns in groups[reader.name].items():
            products = reader.products(*_numbered(reader, [columns]))
            energy = products.sum()
            if not float(energy) > 0:
                continue  # its outputs are always 0: it says nothing about its inputs
            found = [products[:-1, :-1] / energy, squares[columns].sum(1) / energy, energy.new_ones(())]
            sums[group] = [a + b for a, b in zip(sums[group], found, strict=True)] if group in sums else found
    return {group: Contributions(products / n, sizes / n) for group, (products, sizes, n) in sums.items()}


def reconstructed(evidence: Evidence, gone: Mapping[str, Sequence[int]], damp: float) -> dict[str, Tensor]:
    """Weight → its values that best reproduce its outputs without these parts (`Reader.replaced`).

    Raises:
        Refusal: as `contributions`.
    """
    groups = _by_reader(evidence)
    found = {}
    for reader in readers(evidence, _that_lose(groups, gone)):
        going = torch.zeros(reader.width, dtype=torch.bool, device=reader.matrix.device)
        for group, columns in groups[reader.name].items():
            going[columns[list(gone.get(group, ()))].flatten()] = True
        found[reader.name] = reader.replaced(going, damp)
    return found


def rescaled(evidence: Evidence, gone: Mapping[str, Sequence[int]], damp: float) -> dict[str, Tensor]:
    """Weight → its values with one factor for each part that stays, which best reproduce its outputs without these
    parts: f_S = 1 + (Q_SS + δI)⁻¹ Q_ST 1, Q the products of contributions, T the parts that go, δ = damp · mean(diag).

    Raises:
        Refusal: as `contributions`.
    """
    groups = _by_reader(evidence)
    found = {}
    for reader in readers(evidence, _that_lose(groups, gone)):
        parts, count = _numbered(reader, list(groups[reader.name].values()))
        going = torch.zeros(count, dtype=torch.bool, device=parts.device)
        for group, columns in groups[reader.name].items():
            going[parts[columns[list(gone.get(group, ())), 0]]] = True
        products = reader.products(parts, count)[:-1, :-1]
        factors = products.new_ones(count + 1)
        if not bool(going.all()):
            missing = products[~going][:, going].sum(1, keepdim=True)
            factors[:-1][~going] += _solved(products[~going][:, ~going], missing, damp)[:, 0]
        found[reader.name] = reader.scaled(factors[parts])
    return found


def _by_reader(evidence: Evidence) -> dict[str, dict[str, Tensor]]:
    """Weight → group → N×c: the columns that read each part."""
    found: dict[str, dict[str, Tensor]] = {}
    for group, columns in evidence.readers.items():
        for name, each in columns.items():
            found.setdefault(name, {})[group] = each.to(evidence.weights[name].device)
    return found


def _that_lose(groups: Mapping[str, Mapping[str, Tensor]], gone: Mapping[str, Sequence[int]]) -> list[str]:
    """The weights that read something of what is removed."""
    return [name for name, each in groups.items() if any(gone.get(group) for group in each)]


def _numbered(reader: Reader, columns: Sequence[Tensor]) -> tuple[Tensor, int]:
    """The number of the part of each of G·K columns, over several groups, and how many parts there are."""
    count = sum(len(each) for each in columns)
    parts = torch.full((reader.width,), count, device=reader.matrix.device)
    before = 0
    for each in columns:
        parts[each] = torch.arange(before, before + len(each), device=parts.device)[:, None]
        before += len(each)
    return parts, count


def _sampled_products(matrix: Tensor, rows: Tensor, parts: Tensor, count: int) -> Tensor:
    """⟨z_i, z_j⟩ from some rows n×K and some outputs of a matrix O×K."""
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randperm(len(matrix), generator=generator)[:OUTPUTS].to(matrix.device)
    found = matrix.new_zeros(count + 1, count + 1)
    for output in matrix[chosen]:
        made = rows.new_zeros(len(rows), count + 1).index_add_(1, parts, rows * output)
        found += made.mT @ made
    return found * (len(matrix) / len(chosen))


def _makes_up(leaving: Tensor, inputs: Tensor, going: Tensor, damp: float, sampled: bool) -> Tensor:
    """O×T weights of inputs that go → O×S, what is added to those that stay."""
    if not sampled:
        return _solved(inputs[~going][:, ~going], inputs[~going][:, going] @ leaving.mT, damp).mT
    stays, goes = inputs[:, ~going], inputs[:, going]
    ridge = damp * float(stays.square().sum() / stays.shape[1])
    return _solved(stays @ stays.mT, goes @ leaving.mT, ridge=ridge).mT @ stays


def _solved(moments: Tensor, right: Tensor, damp: float = 0.0, ridge: float | None = None) -> Tensor:
    """(moments + ridge · I)⁻¹ right; the ridge is by default damp · the mean of the diagonal. 0 where all is 0."""
    ridge = damp * float(moments.diagonal().mean()) if ridge is None else ridge
    if not ridge > 0:
        return torch.zeros_like(right)
    factor, failed = torch.linalg.cholesky_ex(moments + ridge * torch.eye(len(moments)).to(moments))
    if bool(failed):  # rounding: the smallest correction of those that there are
        return torch.linalg.pinv(moments, hermitian=True) @ right
    return torch.cholesky_solve(right, factor)
