"""Helpers of the tests of stages, and a small data set in memory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from recipelang.images.dataset import ArrayImages, ImageDataset
from recipelang.kinds import Preprocessing

sys.path.insert(0, str(Path(__file__).parent))  # `contexts`, `gradual`


@pytest.fixture(scope="module")
def data() -> ImageDataset:
    """64 images: 4 steps an epoch."""
    labels = torch.arange(64) % 3
    pixels = torch.randint(0, 90, (64, 8, 8, 3), generator=torch.Generator().manual_seed(0))
    array = (pixels + 80 * labels[:, None, None, None]).to(torch.uint8).numpy()
    images: Any = {split: ArrayImages(array, labels.numpy()) for split in ("train", "val", "test")}
    return ImageDataset("toy", ("a", "b", "c"), Preprocessing((8, 8), (0.5,) * 3, (0.3,) * 3), "f" * 64, 16, images)
