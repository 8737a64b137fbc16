"""Evolution stays within its budget, greedy slimming does what a plain loop does, repairs end at the budget."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recipelang.supernets.chaining import fitted
from recipelang.supernets.chains import Bins
from recipelang.supernets.evolution import Budget, Genes, best, crossed, generation, last, mutated, random_genes
from recipelang.supernets.greedy import finest, slimmed

mosts = st.lists(st.integers(1, 5), min_size=1, max_size=5).map(tuple)


def budget_of(most: Genes, seed: int) -> Budget:
    """A cost that every step lowers, and a bound that about half of all genes meet."""
    draws = Random(seed)
    wins = [draws.random() + 0.1 for _ in most]
    limit = 0.5 * sum(win * end for win, end in zip(wins, most, strict=True))
    return Budget(most, lambda genes: sum(win * gene for win, gene in zip(wins, genes, strict=True)) >= limit)


@settings(max_examples=50)
@given(mosts, st.integers(0, 999))
def test_every_candidate_is_within_the_budget(most: Genes, seed: int) -> None:
    budget, draws = budget_of(most, seed), Random(seed)
    parents = [random_genes(budget, draws) for _ in range(4)]
    found = [mutated(parents[0], budget, 0.3, draws), crossed(parents[1], parents[2], budget, draws)]
    for genes in (*parents, *found):
        assert budget.fits(genes)
        assert all(0 <= gene <= end for gene, end in zip(genes, most, strict=True))


def test_a_budget_that_only_the_end_meets_is_reached() -> None:
    only = Budget((3, 4), lambda genes: genes == (3, 4))
    assert random_genes(only, Random(0)) == (3, 4)
    assert mutated((3, 4), only, 1.0, Random(0)) == (3, 4)
    assert generation({}, only, 5, 0.1, Random(0)) == [(3, 4)]
    assert generation({(3, 4): 1.0}, only, 5, 0.1, Random(0)) == []


@settings(max_examples=50)
@given(mosts, st.integers(0, 999))
def test_what_is_drawn_is_as_wide_as_the_budget_allows(most: Genes, seed: int) -> None:
    """Some single step that is given back breaks the budget, unless nothing is left to give back."""
    budget = budget_of(most, seed)
    genes = random_genes(budget, Random(seed))
    fewer = [(*genes[:queue], count - 1, *genes[queue + 1 :]) for queue, count in enumerate(genes) if count]
    assert not fewer or not all(map(budget.fits, fewer))


@given(st.integers(0, 30), st.integers(0, 30))
def test_the_last_that_holds_is_found_by_halving(at: int, more: int) -> None:
    asked: list[int] = []

    def holds(k: int) -> bool:
        asked.append(k)
        return k <= at

    assert last(holds, at + more) == at
    assert len(asked) <= (at + more + 1).bit_length()


def test_crossing_takes_each_gene_from_a_parent_and_mutation_draws_as_often_as_it_is_told() -> None:
    held = Budget((9,) * 2000, lambda genes: True)  # everything fits, so everything is given back
    assert crossed((3,) * 2000, (4,) * 2000, held, Random(0)) == (0,) * 2000
    seen: list[Genes] = []

    def free(genes: Genes) -> bool:
        seen.append(genes)
        return len(seen) == 1  # the draw fits, and nothing can be given back

    child = crossed((3,) * 2000, (4,) * 2000, Budget((9,) * 2000, free), Random(0))
    assert child == seen[0] and set(child) == {3, 4} and 6850 < sum(child) < 7150
    for chance, low, high in ((0.1, 130, 230), (0.0, 0, 0)):
        seen.clear()
        genes = mutated((3,) * 2000, Budget((9,) * 2000, free), chance, Random(0))
        assert low <= sum(gene != 3 for gene in genes) <= high


def test_a_generation_is_new_and_within_the_budget() -> None:
    budget = Budget((9,) * 6, lambda genes: sum(genes) >= 10)
    known = {random_genes(budget, Random(seed)): float(seed) for seed in range(30)}
    new = generation(known, budget, 10, 0.1, Random(1))
    assert len(new) == len(set(new)) == 10 and not set(new) & set(known)
    assert all(sum(genes) == 10 for genes in new)
    assert generation(known, budget, 10, 0.1, Random(1)) == new != generation(known, budget, 10, 0.1, Random(2))


def test_the_best_are_those_of_the_lowest_loss() -> None:
    assert best({(1,): 0.3, (2,): 0.1, (0,): 0.1, (5,): 0.9}, 3) == [(0,), (2,), (1,)]


@settings(max_examples=50)
@given(mosts, st.integers(1, 3), st.integers(0, 999))
def test_slimming_is_what_a_plain_loop_does(most: Genes, by: int, seed: int) -> None:
    budget, draws = budget_of(most, seed), Random(seed)
    losses = {genes: draws.random() for genes in product(*(range(end + 1) for end in most))}
    path = list(slimmed(most, [by] * len(most), budget.fits, lambda o: min(range(len(o)), key=lambda k: losses[o[k]])))

    now = [0] * len(most)
    naive = [tuple(now)]
    while not budget.fits(tuple(now)):
        tried = []
        for queue in range(len(most)):
            if now[queue] < most[queue]:
                after = list(now)
                after[queue] = min(most[queue], after[queue] + by)
                tried.append((losses[tuple(after)], queue, after))
        _, queue, after = min(tried)
        for count in range(now[queue] + 1, after[queue] + 1):
            now[queue] = count
            if budget.fits(tuple(now)):
                break
        naive.append(tuple(now))
    assert path == naive
    assert budget.fits(path[-1]) and not any(map(budget.fits, path[:-1]))


def test_slimming_ends_with_everything_where_no_budget_holds() -> None:
    path = list(slimmed((2, 1), [1, 1], lambda taken: False, lambda options: 0))
    assert path[-1] == (2, 1)


@settings(max_examples=50)
@given(mosts, st.integers(0, 999))
def test_widths_brought_to_the_budget_leave_no_room_for_another_bin(most: Genes, seed: int) -> None:
    budget, draws = budget_of(most, seed), Random(seed)
    bins = [Bins(tuple(range(end + 1)), tuple((k,) for k in range(end))) for end in most]
    chances = [sorted((draws.random() for _ in range(end)), reverse=True) for end in most]
    taken = tuple(draws.randint(0, end) for end in most)
    found = fitted(taken, bins, chances, budget.fits)
    assert budget.fits(found)
    for queue, count in enumerate(found):
        if count:
            assert not budget.fits((*found[:queue], count - 1, *found[queue + 1 :]))


def test_the_bin_least_likely_to_be_kept_goes_first_and_the_likeliest_comes_back() -> None:
    bins = [Bins((0, 1, 2), ((1,), (0,))), Bins((0, 1, 2), ((1,), (0,)))]
    chances = [[0.9, 0.2], [0.8, 0.5]]
    assert fitted((0, 0), bins, chances, lambda taken: sum(taken) >= 2) == (1, 1)
    assert fitted((2, 2), bins, chances, lambda taken: sum(taken) >= 3) == (1, 2)


def test_nothing_fits_where_no_budget_holds() -> None:
    assert fitted((0,), [Bins((0, 2), ((0, 1),))], [[0.5]], lambda taken: False) == (2,)


@pytest.mark.parametrize(("size", "found"), [(2, 2), (4, 4), (9, 4)])
def test_a_small_budget_has_fewer_networks_than_a_generation(size: int, found: int) -> None:
    budget = Budget((5, 5), lambda genes: sum(genes) >= 3)
    new = generation({}, budget, size, 0.1, Random(0))
    assert len(set(new)) == len(new) == found and all(map(budget.fits, new))


@given(st.integers(0, 9), st.integers(1, 9), st.integers(1, 20))
def test_of_several_steps_at_a_time_no_more_are_taken_than_are_needed(start: int, by: int, bound: int) -> None:
    asked: list[int] = []

    def holds(taken: Sequence[int]) -> bool:
        asked.append(taken[1])
        return taken[1] >= min(bound, start + by)  # it holds at the end

    assert finest((3, start, 0), (3, start + by, 0), holds) == (3, max(start + 1, min(bound, start + by)), 0)
    assert start + by not in asked, "that it holds there is known"
