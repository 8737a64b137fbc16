"""What is done to an image is what torchvision does for its published weights, and it can be written and read again."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor
from torchvision import models
from torchvision.transforms import functional as reference

from recipelang.images.decode import prepare
from recipelang.images.preprocessing import entries, follow, from_entries
from recipelang.images.resize import fit_image
from recipelang.kinds import Preprocessing
from recipelang.surgery.published import HALVES, WITH_AUXILIARY, preprocessing

WEIGHTS = [
    entry for name in models.list_models(module=models) for entry in models.get_model_weights(name)
]  # of all classification networks
SIZES = [(37, 91), (311, 204), (500, 375), (641, 480), (64, 64)]


def noise(width: int, height: int) -> Image.Image:
    random = np.random.default_rng(width * height)
    coarse = Image.fromarray(random.integers(0, 256, (height // 4, width // 4, 3), dtype=np.uint8))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def how(entry: Any) -> tuple[Any, ...]:
    t = entry.transforms()
    auxiliary = any(entry in models.get_model_weights(name) for name in WITH_AUXILIARY)
    return t.resize_size[0], t.crop_size[0], t.interpolation.value, auxiliary, tuple(t.mean), tuple(t.std)


def normalised(image: Tensor, entry: Any) -> Tensor:
    """GoogLeNet and Inception of torchvision change the mean and std of ImageNet to halves inside the network."""
    if not any(entry in models.get_model_weights(name) for name in WITH_AUXILIARY):
        return image
    t = entry.transforms()
    mean, std, halves = (torch.tensor(values)[:, None, None] for values in (t.mean, t.std, HALVES))
    return (image * std + mean - halves) / halves


def test_there_are_weights_of_either_interpolation() -> None:
    assert {how(entry)[2] for entry in WEIGHTS} == {"bilinear", "bicubic"} and len(WEIGHTS) > 100


@pytest.mark.parametrize("entry", {how(e): e for e in WEIGHTS}.values(), ids=lambda e: "-".join(map(str, how(e)[:3])))
def test_an_image_is_prepared_as_the_weights_want_it(entry: Any) -> None:
    transforms = entry.transforms()
    own = preprocessing(entry, (3, transforms.crop_size[0], transforms.crop_size[0]))
    step = 1 / 255 / min(transforms.std)  # one level of 255
    for size in SIZES:
        image = noise(*size)
        difference = (prepare(image, own)[0] - normalised(transforms(image), entry)).abs()
        assert float(difference.max()) < 0.01 * step


@given(st.integers(20, 400), st.integers(20, 400), st.integers(16, 90), st.integers(0, 60))
def test_the_place_of_a_crop_is_rounded_as_torchvision_rounds_it(width: int, height: int, crop: int, more: int) -> None:
    image = noise(width, height)
    own = Preprocessing((crop, crop), (0, 0, 0), (1, 1, 1), crop + more, crop="rounded")
    wanted = np.asarray(reference.center_crop(reference.resize(image, [crop + more]), [crop, crop]))
    assert (
        np.abs(fit_image(image, own).astype(int) - wanted).max() <= 2
    )  # long images are resampled once, the others as torchvision does it


@pytest.mark.parametrize("size", [(64, 96), (96, 64), (64, 300)])
@pytest.mark.parametrize("given", SIZES)
def test_a_crop_that_is_no_square_shows_the_middle_without_distortion(
    size: tuple[int, int], given: tuple[int, int]
) -> None:
    width, height = given
    y, x = np.mgrid[0:height, 0:width].astype(float)
    # Colours that say where they are, the middle being 128: across in red, down in green, 0.3 a pixel.
    far = max(given)
    image = Image.fromarray(
        np.stack([128 + 120 * (x - (width - 1) / 2) / far, 128 + 120 * (y - (height - 1) / 2) / far, 0 * x], 2).astype(
            np.uint8
        )
    )
    got = fit_image(image, Preprocessing(size, (0, 0, 0), (1, 1, 1), round(min(size) * 8 / 7), crop="rounded"))
    red, green = got[..., 0].astype(float), got[..., 1].astype(float)
    assert abs(red.mean() - 128) < 2 and abs(green.mean() - 128) < 2
    across = (red[:, -5].mean() - red[:, 5].mean()) / (size[1] - 10)
    down = (green[-5].mean() - green[5].mean()) / (size[0] - 10)
    assert across == pytest.approx(down, rel=0.15)  # a pixel is as wide as it is high


def test_entries_are_read_again_and_old_ones_mean_what_was_done_then() -> None:
    old = {"size": [32, 32], "mean": [0.5], "std": [0.2], "resize": None}
    assert from_entries(old) == Preprocessing((32, 32), (0.5,), (0.2,))
    assert entries(Preprocessing((32, 32), (0.5,), (0.2,))) == {**old, "size": (32, 32), "mean": (0.5,), "std": (0.2,)}
    new = Preprocessing((8, 9), (0.5,), (0.2,), 10, "bicubic", "rounded", (32, 32), 12)
    assert from_entries(json.loads(json.dumps(entries(new)))) == new
    for wrong in ({"interpolation": "best"}, {"crop": "left"}, {"via": [0, 3]}, {"bits": 40}, {"bits": True}):
        with pytest.raises(ValueError, match=r"."):
            from_entries({**old, **wrong})


def test_data_follows_a_networks_preprocessing_as_far_as_it_can() -> None:
    own = Preprocessing((64, 64), (0.4, 0.4, 0.4), (0.2, 0.2, 0.2), 73, crop="rounded", bits=12)
    wanted = Preprocessing((64, 64), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 66, "bicubic", "rounded")
    crops = follow(own, wanted, crops=True)
    assert (crops.resize, crops.interpolation, crops.mean, crops.bits) == (66, "bicubic", wanted.mean, 12)
    for still in (
        follow(own, wanted, crops=False),
        follow(own, Preprocessing((32, 32), *[(0.5,) * 3] * 2), crops=True),
    ):
        assert (still.size, still.resize, still.interpolation, still.mean) == ((64, 64), 73, "bilinear", (0.5,) * 3)
    assert follow(own, Preprocessing((64, 64), (0.5,), (0.5,)), crops=True) == own  # grey: another network altogether
    assert follow(crops, crops, crops=True) == crops


def test_an_image_takes_the_way_over_a_first_size() -> None:
    image = noise(200, 120)
    got = prepare(image, Preprocessing((64, 64), (0, 0, 0), (1, 1, 1), via=(32, 32)))
    small = torch.from_numpy(np.array(image.resize((32, 32), Image.Resampling.BILINEAR))).permute(2, 0, 1)[None] / 255
    wanted = torch.nn.functional.interpolate(small, (64, 64), mode="bilinear", antialias=True)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)
