"""Splits are honest."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recipelang.errors import Refusal
from recipelang.images.splits import divide

CLASSES = ("a", "b", "c")


def digest(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


images = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 2)), max_size=120)


@given(images, st.integers(-5, 5))
def test_nothing_is_lost_and_no_bytes_straddle(found: list[tuple[int, int]], seed: int) -> None:
    digests, labels = [digest(n) for n, _ in found], [c for _, c in found]
    try:
        parts = divide(digests, labels, (0.6, 0.2, 0.2), seed, CLASSES)
    except Refusal as refusal:
        assert refusal.code == "RCP0808"
        return
    assert sorted(np.concatenate(parts)) == list(range(len(found)))
    contents = [{digests[i] for i in part} for part in parts]
    assert not (contents[0] & contents[1] | contents[0] & contents[2] | contents[1] & contents[2])
    for part in parts:
        assert {labels[i] for i in part} == set(labels)


@given(st.integers(10, 300), st.integers(0, 9))
def test_shares_are_kept_within_one_image_per_class(count: int, seed: int) -> None:
    digests = [digest(n) for n in range(2 * count)]
    labels = [0] * count + [1] * count
    parts = divide(digests, labels, (0.8, 0.1, 0.1), seed, CLASSES)
    for part, share in zip(parts, (0.8, 0.1, 0.1), strict=True):
        for label in (0, 1):
            assert abs(sum(labels[i] == label for i in part) - share * count) <= 1


def test_the_division_depends_on_seed_and_bytes_and_not_on_order() -> None:
    digests, labels = [digest(n) for n in range(100)], [n % 2 for n in range(100)]
    one = divide(digests, labels, (0.5, 0.25, 0.25), 7, CLASSES)
    turned = divide(digests[::-1], labels[::-1], (0.5, 0.25, 0.25), 7, CLASSES)
    for a, b in zip(one, turned, strict=True):
        assert {digests[i] for i in a} == {digests[::-1][i] for i in b}
    other = divide(digests, labels, (0.5, 0.25, 0.25), 8, CLASSES)
    assert {*one[2]} != {*other[2]}


def test_an_added_image_moves_few_others() -> None:
    digests = [digest(n) for n in range(400)]
    before = divide(digests, [0] * 400, (0.8, 0.1, 0.1), 0, CLASSES)
    after = divide([*digests, digest(999)], [0] * 401, (0.8, 0.1, 0.1), 0, CLASSES)
    where = {i: k for k, part in enumerate(before) for i in part}
    moved = sum(where.get(int(i)) not in (None, k) for k, part in enumerate(after) for i in part)
    assert moved <= 3


def test_a_class_that_is_too_small_is_named() -> None:
    with pytest.raises(Refusal) as caught:
        divide([digest(0), digest(0), digest(1)], [1, 1, 1], (0.8, 0.1, 0.1), 0, ("cat", "<script>"))
    assert (caught.value.code, "`<script>` has 2 different images" in caught.value.message) == ("RCP0808", True)


def test_a_share_of_nothing_stays_empty() -> None:
    parts = divide([digest(n) for n in range(10)], [0] * 10, (0.9, 0.1, 0.0), 0, CLASSES)
    assert [len(p) for p in parts] == [9, 1, 0]
