"""Patterns against a loop over their pieces: how many are kept, which, and that nothing but whole pieces goes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recipelang import catalogue
from recipelang.errors import Refusal
from recipelang.kinds import PATTERN_SCORES
from recipelang.methods.patterns.blocks import Blocks
from recipelang.methods.patterns.filters import Filters
from recipelang.methods.patterns.kernels import Kernels
from recipelang.methods.patterns.nm import NM
from recipelang.methods.patterns.vectors import Vectors
from recipelang.methods.patterns.weights import Weights

SHARES = st.integers(1, 99)
Place = tuple[slice | int, ...]


def pieces(pattern: Any, shape: tuple[int, ...]) -> Iterator[Place]:
    """Where the pieces of a weight are, in their order, from the definition of each pattern."""
    if isinstance(pattern, Weights):
        yield from itertools.product(*map(range, shape))
    elif isinstance(pattern, Vectors):
        yield from itertools.product(*map(range, shape[:-1]))
    elif isinstance(pattern, Kernels):
        yield from itertools.product(*map(range, shape[:2]))
    elif isinstance(pattern, Filters):
        yield from ((o,) for o in range(shape[0]))
    else:
        rows, columns = pattern.rows, pattern.columns
        for o, i in itertools.product(range(0, shape[0], rows), range(0, shape[1], columns)):
            for position in itertools.product(*map(range, shape[2:])):
                yield (slice(o, o + rows), slice(i, i + columns), *position)


def naive(pattern: Any, scores: Tensor, percent: int) -> Tensor:
    """The mask by counting: the ⌈share · N⌉ lowest sums go, of equal ones the last, and one stays."""
    places = list(pieces(pattern, tuple(scores.shape)))
    gone = min(len(places) - 1, math.ceil(Fraction(percent * len(places), 100)))
    order = sorted(range(len(places)), key=lambda k: (float(scores[places[k]].double().sum()), -k))
    keep = torch.ones(scores.shape, dtype=torch.bool)
    for k in order[:gone]:
        keep[places[k]] = False
    return keep


CONVOLUTIONS = st.tuples(st.sampled_from([1, 4, 8]), st.sampled_from([2, 4, 8]), st.integers(1, 3), st.integers(1, 3))
PATTERNS = [Weights(), Vectors(), Kernels(), Filters(), Blocks(rows=1, columns=2), Blocks(rows=4, columns=1), Blocks()]


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
@given(CONVOLUTIONS, SHARES, st.integers(0, 3), st.integers(0, 2**20))
def test_the_lowest_pieces_are_zero(pattern: Any, shape: tuple[int, ...], percent: int, spread: int, seed: int) -> None:
    """Whole numbers as scores, few of them, so that sums are exact and often equal."""
    scores = torch.randint(0, spread + 1, shape, generator=torch.Generator().manual_seed(seed)).float()
    asked = pattern.at(percent / 100)
    if reason := asked.refuses(scores):
        assert isinstance(pattern, Blocks) and "not a multiple" in reason
        assert shape[0] % pattern.rows or shape[1] % pattern.columns
        return
    keep = asked.mask(scores)
    assert keep.shape == scores.shape and torch.equal(keep, naive(pattern, scores, percent))
    assert bool(keep.any()) and asked.holds(keep.float()) and torch.equal(keep, asked.mask(scores))
    assert all(len(set(keep[place].flatten().tolist())) == 1 for place in pieces(pattern, shape))
    assert torch.equal(asked.joined(asked.split(scores), scores), scores)


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_one_nonzero_weight_in_one_more_piece_breaks_it(pattern: Any) -> None:
    scores = torch.rand(8, 8, 3, 3, generator=torch.Generator().manual_seed(0))
    asked = pattern.at(0.5)
    weight = asked.mask(scores).float()
    assert asked.holds(weight) and asked.holds(torch.zeros_like(weight))
    for place in pieces(pattern, tuple(weight.shape)):
        if not bool(weight[place].any()):
            broken = weight.clone()
            broken[tuple(part.start if isinstance(part, slice) else part for part in place)] = 1
            assert not asked.holds(broken)
            break


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_what_is_removed_stays_removed_and_partly_removed_pieces_go_by_what_is_left(pattern: Any) -> None:
    """A schedule gives −∞ for what it has removed; an older mask may have removed single weights of a piece."""
    scores = 1 + torch.rand(8, 8, 3, 3, generator=torch.Generator().manual_seed(0))
    keep = pattern.at(0.3).mask(scores)
    later = pattern.at(0.6).mask(scores.masked_fill(~keep, -torch.inf))
    assert not bool((later & ~keep).any()) and torch.equal(later, pattern.at(0.6).mask(scores))
    alone = scores.clone()
    alone[..., 0] = -torch.inf
    alone[0, 0, 0, 0] = 1e3
    if not isinstance(pattern, Weights):
        assert torch.equal(pattern.at(0.4).mask(alone), pattern.at(0.4).mask(alone.masked_fill(alone.isneginf(), 0)))


@pytest.mark.parametrize("pattern", [Vectors(0.5), Kernels(0.5), Filters(0.5)], ids=str)
def test_a_linear_weight_has_no_kernels(pattern: Any) -> None:
    what = "filters" if isinstance(pattern, Filters) else "kernels"
    assert pattern.refuses(torch.ones(8, 8)) == f"a linear weight has no {what}"
    assert not pattern.holds(torch.zeros(8, 8))


def test_a_convolution_in_one_dimension() -> None:
    scores = torch.arange(24.0).reshape(4, 2, 3)
    for pattern, gone in ((Vectors(0.5), 4), (Kernels(0.5), 4), (Filters(0.5), 2)):
        assert torch.equal(~pattern.mask(scores), (scores < 3 * gone * (2 if gone == 2 else 1)))


def test_blocks_of_a_linear_weight_are_tiles() -> None:
    scores = torch.zeros(4, 4)
    scores[:2, 2:] = 1
    scores[2:, :2] = 2
    keep = Blocks(0.5, 2, 2).mask(scores)
    assert torch.equal(keep, scores > 0)
    assert str(Blocks(0.9, 2, 8)) == "90% sparse in blocks 2x8"
    assert Blocks(0.5, 4, 4).refuses(torch.ones(10, 8)) == "10 outputs are not a multiple of 4"
    assert Blocks(0.5, 4, 4).refuses(torch.ones(8, 3, 3, 3)) == "3 input channels are not a multiple of 4"
    assert Blocks(0.5, 4, 4).refuses(torch.ones(8)) == "it has no input channels"


@pytest.mark.parametrize("pattern", PATTERNS, ids=str)
def test_a_score_that_is_not_a_number_is_refused(pattern: Any) -> None:
    scores = torch.ones(8, 8, 2, 2)
    scores[0, 0, 0, 0] = torch.nan
    with pytest.raises(Refusal) as refusal:
        pattern.at(0.5).mask(scores)
    assert refusal.value.code == "RCP0704"


@given(st.integers(1, 7), st.integers(2, 8), st.integers(1, 3), st.integers(0, 2**20))
def test_any_n_of_m(n: int, m: int, groups: int, seed: int) -> None:
    if n >= m:
        return
    scores = torch.randint(0, 3, (3, m * groups, 2), generator=torch.Generator().manual_seed(seed)).float()
    keep = NM(n, m).mask(scores)
    for o, g, x in itertools.product(range(3), range(groups), range(2)):
        column = scores[o, g * m : (g + 1) * m, x].tolist()
        order = sorted(range(m), key=lambda k: (-column[k], k))
        assert keep[o, g * m : (g + 1) * m, x].nonzero().flatten().tolist() == sorted(order[:n])
    assert NM(n, m).holds(keep.float()) and str(NM(n, m)) == f"{n}:{m}"


@pytest.mark.parametrize("name", catalogue.names("pattern"))
def test_a_pattern_with_a_target_is_sparser_the_higher_it_is_and_keeps_within_itself(name: str) -> None:
    found: Any = catalogue.find("pattern", name)
    pattern = found()
    scores = torch.rand(16, 32, 2, 2, generator=torch.Generator().manual_seed(1))
    assert set(PATTERN_SCORES) <= set(getattr(pattern, "scores", PATTERN_SCORES)) <= {*PATTERN_SCORES, "filter"}
    if not pattern.target:
        assert pattern.holds(scores * pattern.mask(scores))
        return
    masks = [pattern.at(target).mask(scores) for target in (0.25, 0.5, 0.75)]
    assert [round(1 - float(keep.float().mean()), 2) for keep in masks] == [0.25, 0.5, 0.75]
    assert not any((more & ~less).any() for less, more in zip(masks, masks[1:], strict=False))
