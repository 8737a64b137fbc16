"""Pairs for super-resolution: honest splits, reproducible crops, inputs made from targets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from recipelang.catalogue import find
from recipelang.errors import Refusal, SettingError
from recipelang.images.pairs import ArrayWholes, PairDataset, fitting, plain, turned
from recipelang.images.sheets import open_sheets
from recipelang.kinds import Preprocessing


def fill(root: Path, sizes: list[tuple[int, int]], seed: int = 0, mode: str = "RGB") -> None:
    """Images (height, width) of random pixels, as `0.png`, `1.png`, …"""
    random = np.random.default_rng(seed)
    root.mkdir(parents=True, exist_ok=True)
    for k, (height, width) in enumerate(sizes):
        shape = (height, width, 3) if mode == "RGB" else (height, width)
        Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8)).save(root / f"{k}.png")


def opened(root: Path, **settings: Any) -> Any:
    return find("data", "images")(root=str(root), **{"crop": 16, "batch": 4, **settings}).open(Path)  # type: ignore[misc]


def test_every_image_is_in_one_split_and_copies_are_together(tmp_path: Path) -> None:
    fill(tmp_path, [(20, 24)] * 20)
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "copy.png").write_bytes((tmp_path / "3.png").read_bytes())
    (tmp_path / "notes.txt").write_text("no image")
    data = opened(tmp_path)
    names = {split: set(data.wholes[split].names) for split in ("train", "val", "test")}
    assert sum(len(some) for some in names.values()) == 21 == len(set.union(*names.values()))
    assert any({"3.png", "inside/copy.png"} <= some for some in names.values())
    assert (data.target, data.labels, data.notes) == ("image", None, ("1 file skipped: not images",))
    again = opened(tmp_path)
    assert again.fingerprint == data.fingerprint
    assert len({data.fingerprint, *(opened(tmp_path, **s).fingerprint for s in CHANGES)}) == 1 + len(CHANGES)


CHANGES: list[dict[str, Any]] = [
    {"scale": 4}, {"crop": 18}, {"batch": 3}, {"seed": 1}, {"augment": "none"}, {"channels": 1},
    {"split": (0.6, 0.2, 0.2)},
]  # fmt: skip


def test_given_splits_are_used_as_they_are(tmp_path: Path) -> None:
    fill(tmp_path / "train", [(16, 16)] * 6)
    fill(tmp_path / "test", [(9, 31)] * 2, seed=1)
    data = opened(tmp_path)
    assert data.size("test") == 2 and data.size("train") + data.size("val") == 6


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_an_input_is_its_target_made_smaller(tmp_path: Path, scale: int) -> None:
    fill(tmp_path, [(49, 37)] * 5)
    data = opened(tmp_path, scale=scale, crop=24, split=(0.4, 0.2, 0.4), batch=2)
    (small, large) = next(iter(data.batches("test")))
    height, width = fitting((49, 37), scale)
    assert large.shape == (2, 3, height, width) and small.shape == (2, 3, height // scale, width // scale)
    name = data.wholes["test"].names[0]
    whole = Image.open(tmp_path / name).crop((0, 0, width, height))
    wanted = np.asarray(whole.resize((width // scale, height // scale), Image.Resampling.BICUBIC))
    assert np.array_equal(small[0].mul(255).round().to(torch.uint8).numpy().transpose(1, 2, 0), wanted)
    assert torch.equal(large[0], torch.from_numpy(np.asarray(whole).copy()).permute(2, 0, 1).float() / 255)


def test_a_square_is_what_the_smaller_whole_image_shows_there(tmp_path: Path) -> None:
    """Cutting and making smaller commute, where the square begins at a multiple of the scale."""
    pixels = np.random.default_rng(0).integers(0, 256, (1, 32, 40, 1), dtype=np.uint8)
    data = PairDataset("toy", plain(1, 8), "", 1, {"train": ArrayWholes(pixels)}, 2, 16, False)
    small, large = next(iter(data.batches("train")))
    whole = Image.fromarray(pixels[0, :, :, 0])
    reduced = np.asarray(whole.resize((20, 16), Image.Resampling.BICUBIC))
    assert torch.equal(large[0, 0].mul(255).round().to(torch.uint8), torch.from_numpy(pixels[0, 8:24, 12:28, 0].copy()))
    assert np.abs(small[0, 0].mul(255).round().numpy() - reduced[4:12, 6:14]).max() <= 1


def test_training_is_decided_by_seed_epoch_and_image(tmp_path: Path) -> None:
    fill(tmp_path, [(20, 24), (32, 17), (18, 18)] * 4)
    data = opened(tmp_path, split=(1.0, 0.0, 0.0), batch=3)

    def batches(**how: Any) -> list[torch.Tensor]:
        return [part for batch in data.batches("train", **how) for part in batch]

    one, same, other = batches(epoch=0, seed=5), batches(epoch=0, seed=5), batches(epoch=1, seed=5)
    assert len(one) == 8 and all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    late = batches(epoch=0, seed=5, start=2)
    assert len(late) == 4 and all(torch.equal(a, b) for a, b in zip(one[4:], late, strict=True))
    still = batches(seed=5, samples=6)
    assert sum(len(part) for part in still[::2]) == 6
    assert all(torch.equal(a, b) for a, b in zip(still, batches(seed=5, samples=6), strict=True))


def test_whole_images_of_different_size_come_in_different_batches(tmp_path: Path) -> None:
    fill(tmp_path, [(20, 24), (20, 24), (16, 17), (20, 24)])
    data = opened(tmp_path, split=(0.0, 0.0, 1.0))
    shapes = [tuple(large.shape[2:]) for _, large in data.batches("test")]
    assert sum(len(large) for _, large in data.batches("test")) == 4 and len(shapes) in (2, 3)
    assert set(shapes) == {(20, 24), (16, 16)}
    with pytest.raises(Refusal) as refusal:
        next(iter(data.batches("train")))
    assert refusal.value.code == "RCP0818"


def test_large_images_come_in_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recipelang.images.pairs.MOST_PIXELS", 3 * 24 * 24)
    data = open_sheets(scale=2, batch=16, augment=False)
    counts = [len(large) for _, large in data.batches("test")]
    assert sum(counts) == 39 and max(counts) == 3
    monkeypatch.setattr("recipelang.images.pairs.MOST_PIXELS", 1)
    assert [len(large) for _, large in data.batches("val", samples=4)] == [1] * 4


def test_the_eight_orientations_differ_and_keep_pairs_together() -> None:
    square = np.arange(9, dtype=np.uint8).reshape(3, 3, 1)
    assert len({turned(square, k / 8).tobytes() for k in range(8)}) == 8


def test_an_image_turned_by_its_camera_is_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(tmp_path / "turned.jpg", exif=exif)
    data = opened(tmp_path, split=(0.0, 0.0, 1.0))
    assert next(iter(data.batches("test"))).targets.shape == (1, 3, 40, 20)


def test_what_cannot_be_cut_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, [(20, 24)] * 4 + [(12, 30)])
    with pytest.raises(Refusal, match=r"1 image of `train` is smaller than 16×16 pixels: `4.png`") as refusal:
        opened(tmp_path, split=(1.0, 0.0, 0.0))
    assert refusal.value.code == "RCP0842"
    fill(tmp_path / "few", [(20, 24)])
    with pytest.raises(Refusal, match="the folder has 1 different image, too few") as refusal:
        opened(tmp_path / "few")
    assert refusal.value.code == "RCP0808"
    (tmp_path / "none").mkdir()
    with pytest.raises(Refusal) as refusal:
        opened(tmp_path / "none")
    assert refusal.value.code == "RCP0803"
    (tmp_path / "few" / "torn.png").write_bytes((tmp_path / "few" / "0.png").read_bytes()[:60])
    with pytest.raises(Refusal) as refusal:
        opened(tmp_path / "few")
    assert refusal.value.code == "RCP0805"


@pytest.mark.parametrize(
    ("field", "settings"), [("crop", {"crop": 17}), ("split", {"split": (0.5, 0.5)}), ("channels", {"channels": 2})]
)
def test_settings_that_contradict_each_other(field: str, settings: dict[str, Any]) -> None:
    with pytest.raises(SettingError) as error:
        opened(Path("nowhere"), **settings)
    assert error.value.field == field


def test_sheets_hold_digits_of_one_split() -> None:
    data = open_sheets(scale=2, batch=16, augment=True)
    assert [data.size(split) for split in ("train", "val", "test")] == [119, 39, 39]
    tiles = {
        split: {tile.tobytes() for sheet in data.wholes[split].images for tile in _tiles(sheet)}  # type: ignore[attr-defined]
        for split in ("train", "val", "test")
    }
    assert not tiles["train"] & tiles["val"] and not tiles["train"] & tiles["test"] and not tiles["val"] & tiles["test"]
    small, large = next(iter(data.batches("train", epoch=0)))
    assert small.shape == (16, 1, 12, 12) and large.shape == (16, 1, 24, 24) and float(large.min()) >= 0
    assert (data.input_shape, data.target_shape) == ((1, 12, 12), (1, 24, 24))


def _tiles(sheet: np.ndarray) -> list[np.ndarray]:
    return [sheet[8 * r : 8 * r + 8, 8 * c : 8 * c + 8].copy() for r in range(3) for c in range(3)]


def test_a_network_with_another_normalisation_gets_its_inputs_and_the_same_targets() -> None:
    data = open_sheets(scale=2, batch=16, augment=False)
    other = data.prepared(Preprocessing((12, 12), (0.5,), (0.25,)))
    assert other.fingerprint != data.fingerprint and data.prepared(data.preprocessing) is data
    (x, y), (mine, same) = (next(iter(d.batches("val"))) for d in (data, other))
    assert torch.equal(y, same) and torch.allclose(mine, (x - 0.5) / 0.25, atol=1e-6)
    assert data.prepared(Preprocessing((12, 12), (0.5,) * 3, (0.25,) * 3)) is data, "other channels"
