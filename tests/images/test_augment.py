"""Augmentation against naive loops."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from recipelang.images.augment import crop_box, shift_and_flip


def naive(image: np.ndarray, draws: np.ndarray, padding: int, flip: bool) -> np.ndarray:
    height, width, channels = image.shape
    big = np.zeros((height + 2 * padding, width + 2 * padding, channels), np.uint8)
    big[padding : padding + height, padding : padding + width] = image
    top, left = int(draws[0] * (2 * padding + 1)), int(draws[1] * (2 * padding + 1))
    out = big[top : top + height, left : left + width]
    return out[:, ::-1] if flip and draws[2] < 0.5 else out


@given(st.integers(0, 10**6), st.integers(0, 4), st.booleans(), st.sampled_from([1, 3]))
def test_shift_and_flip_is_the_naive_loop(seed: int, padding: int, flip: bool, channels: int) -> None:
    random = np.random.default_rng(seed)
    images = random.integers(0, 256, (5, 9, 7, channels), dtype=np.uint8)
    draws = random.random((5, 3))
    got = shift_and_flip(images, draws, padding, flip)
    for image, draw, out in zip(images, draws, got, strict=True):
        assert (out == naive(image, draw, padding, flip)).all()


def test_an_image_that_is_no_square_is_shifted_by_a_share_of_each_side() -> None:
    images = np.full((200, 8, 32, 1), 255, np.uint8)
    got = shift_and_flip(images, np.random.default_rng(0).random((200, 3)), (1, 4), flip=False)
    black = got == 0
    assert set(black.all((2, 3)).sum(1).tolist()) == {0, 1}  # rows that came in from outside
    assert set(black.all((1, 3)).sum(1).tolist()) == {0, 1, 2, 3, 4}  # columns


def test_a_crop_is_the_law_of_the_card() -> None:
    """Share of the area uniform from 8 %, ratio log-uniform from 3:4 to 4:3, place uniform."""
    draws = np.random.default_rng(0).random((4_000, 5))
    boxes = np.asarray([crop_box(1_000, 1_000, one) for one in draws])
    sides = boxes[:, 2:] - boxes[:, :2]
    inside = draws[:, 0] < 0.7  # where no side is cut to the image
    share = sides.prod(1)[inside] / 1e6
    ratio = np.log(sides[inside, 0] / sides[inside, 1]) / np.log(4 / 3)
    assert np.allclose(np.quantile(share, [0, 0.5, 1]), [0.08, 0.08 + 0.92 * 0.35, 0.08 + 0.92 * 0.7], atol=0.02)
    assert np.allclose(np.quantile(ratio, [0, 0.25, 0.5, 0.75, 1]), [-1, -0.5, 0, 0.5, 1], atol=0.06)
    place = boxes[inside, :2] / (1_000 - sides[inside])
    assert np.allclose(np.quantile(place, [0, 0.5, 1], axis=0), [[0, 0], [0.5, 0.5], [1, 1]], atol=0.04)


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(0, 10**6))
def test_crop_boxes_lie_in_the_image_and_cover_enough(width: int, height: int, seed: int) -> None:
    draws = np.random.default_rng(seed).random(5)
    left, top, right, bottom = crop_box(width, height, draws)
    assert 0 <= left < right <= width + 1e-6
    assert 0 <= top < bottom <= height + 1e-6
    assert (right - left) * (bottom - top) <= width * height * (1 + 1e-9)
    if 3 / 4 <= width / height <= 4 / 3 and draws[0] < 0.5:  # nothing is cut away then
        assert np.isclose((right - left) * (bottom - top), width * height * (0.08 + 0.92 * draws[0]))
        assert 3 / 4 - 1e-9 <= (right - left) / (bottom - top) <= 4 / 3 + 1e-9
