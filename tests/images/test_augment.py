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


@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(0, 10**6))
def test_crop_boxes_lie_in_the_picture_and_cover_enough(width: int, height: int, seed: int) -> None:
    draws = np.random.default_rng(seed).random(5)
    left, top, right, bottom = crop_box(width, height, draws)
    assert 0 <= left < right <= width + 1e-6
    assert 0 <= top < bottom <= height + 1e-6
    assert (right - left) * (bottom - top) <= width * height * (1 + 1e-9)
    if 3 / 4 <= width / height <= 4 / 3 and draws[0] < 0.5:  # nothing is cut away then
        assert np.isclose((right - left) * (bottom - top), width * height * (0.08 + 0.92 * draws[0]))
        assert 3 / 4 - 1e-9 <= (right - left) / (bottom - top) <= 4 / 3 + 1e-9
