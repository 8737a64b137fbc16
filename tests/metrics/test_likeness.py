"""PSNR and SSIM against naive formulas, scipy and published numbers."""

from __future__ import annotations

import math
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor

from recipelang.catalogue import find
from recipelang.errors import Refusal
from recipelang.kinds import Measurement
from recipelang.measuring.likeness import luma, psnr, ssim
from recipelang.measuring.predictions import measured
from recipelang.methods.tasks.superresolution import SuperResolution

GENERATOR = torch.Generator().manual_seed(0)
TARGETS = torch.rand(3, 3, 20, 17, generator=GENERATOR)
ANSWERS = (TARGETS + 0.1 * torch.randn(3, 3, 20, 17, generator=GENERATOR)).clamp(0, 1)


def taken(name: str, answers: Tensor, targets: Tensor, scale: int = 2, **settings: Any) -> Measurement:
    return measured(find("metric", name)(**settings), answers, targets, SuperResolution(scale))  # type: ignore[misc]


def test_psnr_is_its_formula() -> None:
    for k in range(3):
        pairs = list(zip(ANSWERS[k].flatten().tolist(), TARGETS[k].flatten().tolist(), strict=True))
        wanted = 10 * math.log10(1 / (sum((a - b) ** 2 for a, b in pairs) / len(pairs)))
        assert float(psnr(ANSWERS, TARGETS)[k]) == pytest.approx(wanted, rel=1e-6)


def naive_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """Window by window, as section III-B of Wang et al. 2004 says."""
    weights = np.array(
        [[math.exp(-((i - 5) ** 2 + (j - 5) ** 2) / (2 * 1.5**2)) for j in range(11)] for i in range(11)]
    )
    weights /= weights.sum()
    found = []
    for i in range(x.shape[0] - 10):
        for j in range(x.shape[1] - 10):
            a, b = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
            ma, mb = (weights * a).sum(), (weights * b).sum()
            va, vb = (weights * (a - ma) ** 2).sum(), (weights * (b - mb) ** 2).sum()
            both = (weights * (a - ma) * (b - mb)).sum()
            top = (2 * ma * mb + 0.01**2) * (2 * both + 0.03**2)
            found.append(top / ((ma**2 + mb**2 + 0.01**2) * (va + vb + 0.03**2)))
    return float(np.mean(found))


def test_ssim_is_its_formula_window_by_window() -> None:
    got = ssim(ANSWERS, TARGETS)
    for k in range(3):
        channels = [naive_ssim(ANSWERS[k, c].double().numpy(), TARGETS[k, c].double().numpy()) for c in range(3)]
        assert float(got[k]) == pytest.approx(np.mean(channels), rel=1e-9)


def test_ssim_is_scipys_gaussian_filters() -> None:
    """As scikit-image computes it: filters over the whole image, and only the inner part counts."""
    x, y = (t[0, 0].double().numpy() for t in (ANSWERS, TARGETS))

    def smooth(image: np.ndarray) -> np.ndarray:
        return gaussian_filter(image, 1.5, truncate=3.5)[5:-5, 5:-5]

    mx, my = smooth(x), smooth(y)
    vx, vy, both = smooth(x * x) - mx**2, smooth(y * y) - my**2, smooth(x * y) - mx * my
    whole = (2 * mx * my + 1e-4) * (2 * both + 9e-4) / ((mx**2 + my**2 + 1e-4) * (vx + vy + 9e-4))
    assert float(ssim(ANSWERS[:1, :1], TARGETS[:1, :1])) == pytest.approx(whole.mean(), rel=1e-9)


def test_luma_is_matlabs() -> None:
    """rgb2ycbcr of white, black, red, green and blue."""
    colours = torch.tensor([[1.0, 1, 1], [0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])[:, :, None, None]
    assert (luma(colours).flatten() * 255).tolist() == pytest.approx([235.0, 16, 81.481, 144.553, 40.966], abs=1e-3)


def test_a_metric_rounds_cuts_the_border_and_compares_the_luma() -> None:
    rounded = [(t * 255).round() / 255 for t in (ANSWERS, TARGETS)]
    inner = [luma(t[:, :, 3:-3, 3:-3]) for t in rounded]
    found = taken("psnr", ANSWERS, TARGETS, border=3)
    assert found.value == pytest.approx(float(psnr(*inner).mean()), rel=1e-6)
    assert found.per_sample is not None and found.per_sample.shape == (3,) and found.low < found.value < found.high
    assert taken("psnr", ANSWERS, TARGETS, scale=3).value == pytest.approx(found.value), "the border is the scale"
    rgb = taken("ssim", ANSWERS, TARGETS, border=0, channel="rgb")
    assert rgb.value == pytest.approx(float(ssim(*rounded).mean()), rel=1e-6)
    spoiled = ANSWERS.clone()
    spoiled[:, :, :2], spoiled[..., -2:] = 0, 0
    assert taken("psnr", spoiled, TARGETS).value == taken("psnr", ANSWERS, TARGETS).value


@pytest.mark.parametrize(("name", "best"), [("psnr", 100.0), ("ssim", 1.0)])
def test_an_image_equal_to_its_target(name: str, best: float) -> None:
    assert taken(name, TARGETS, TARGETS).value == pytest.approx(best)


@pytest.mark.parametrize("name", ["psnr", "ssim"])
def test_images_that_cannot_be_compared_are_refused(name: str) -> None:
    broken = ANSWERS.clone()
    broken[1, 0, 10, 10] = math.nan
    for answers, targets, code in (
        (broken, TARGETS, "RCP1003"),
        (ANSWERS[:, :, :10], TARGETS, "RCP1004"),
        (ANSWERS[:0], TARGETS[:0], "RCP1004"),
        (ANSWERS[..., :4], TARGETS[..., :4], "RCP1015"),
    ):
        with pytest.raises(Refusal) as refusal:
            taken(name, answers, targets)
        assert refusal.value.code == code


@pytest.mark.parametrize(("scale", "published"), [(2, (33.66, 0.9299)), (3, (30.39, 0.8682)), (4, (28.42, 0.8104))])
def test_bicubic_on_set5_is_what_papers_report(scale: int, published: tuple[float, float], tmp_path: Path) -> None:
    """The baseline of every table since Dong et al. 2014, by MATLAB; Pillow's resampling has the same kernel."""
    archive = Path(os.environ.get("RECIPELANG_DATA", "/nowhere")) / "sr-set5-set14.tar.gz"
    if not archive.is_file():
        pytest.skip("no sr-set5-set14.tar.gz in $RECIPELANG_DATA")
    with tarfile.open(archive) as file:
        file.extractall(tmp_path, filter="data")
    root = next(path for path in tmp_path.rglob("*") if path.is_dir() and path.name.lower() == "set5")
    data = find("data", "images")(root=str(root), scale=scale, crop=24, split=(0.0, 0.0, 1.0)).open(Path)  # type: ignore[misc]
    metrics = [find("metric", name)() for name in ("psnr", "ssim")]  # type: ignore[misc]
    states = [metric.start(SuperResolution(scale)) for metric in metrics]
    for small, large in data.batches("test", batch=1):
        pixels = Image.fromarray(small[0].permute(1, 2, 0).mul(255).round().to(torch.uint8).numpy())
        bicubic = np.asarray(pixels.resize((large.shape[3], large.shape[2]), Image.Resampling.BICUBIC))
        answer = torch.from_numpy(bicubic.copy()).permute(2, 0, 1)[None].float() / 255
        states = [metric.add(state, answer, large) for metric, state in zip(metrics, states, strict=True)]
    found = [metric.result(state).value for metric, state in zip(metrics, states, strict=True)]
    assert found[0] == pytest.approx(published[0], abs=0.06) and found[1] == pytest.approx(published[1], abs=0.004)
