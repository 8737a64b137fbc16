"""What methods that open labelled images have in common: how images are divided and become inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from recipelang.catalogue import setting
from recipelang.errors import SettingError

RIGHT = "three shares that add up to 100 %, as in `split=[80%, 10%, 10%]`"


@dataclass(frozen=True, kw_only=True)
class ImageSettings:
    """The settings of every method that opens labelled images."""

    size: int | tuple[int, int] = setting(
        224, type="size", low=8, high=1024, help="Side in pixels of the network's input, or `[height, width]`."
    )
    batch: int = setting(32, type="integer", low=1, help="Images per training batch.")
    split: tuple[float, ...] = setting(
        (0.8, 0.1, 0.1), type="numbers", help="Shares of training, validation and test; they add up to 100 %."
    )
    seed: int = setting(0, type="integer", low=0, help="Seed of the division.")
    augment: str = setting("standard", type="word", choices=("standard", "none"), help="Augmentation in training.")
    channels: int = setting(3, type="integer", low=1, high=3, help="3: colour; 1: grey, for grey data.")
    bits: int | None = setting(
        None, type="integer", low=9, high=16, help="How many bits 16-bit images use if their files do not say."
    )
    unreadable: str = setting(
        "refuse", type="word", choices=("refuse", "skip"), help="Whether images that cannot be read are left out."
    )

    def __post_init__(self) -> None:
        if self.channels == 2:
            raise SettingError("channels", "an image has 1 channel or 3, not 2", "write `channels=1` or `channels=3`")
        require_shares(self.split)

    def how(self) -> dict[str, Any]:
        """The settings as keywords of `images.files` and what is built on it."""
        return {
            "size": self.size if isinstance(self.size, tuple) else (self.size, self.size),
            "batch": self.batch,
            "split": self.split,
            "seed": self.seed,
            "augment": self.augment == "standard",
            "channels": self.channels,
            "bits": self.bits,
            "skip": self.unreadable == "skip",
        }


def require_shares(split: tuple[float, ...]) -> None:
    """Refuse what is not the shares of three splits, the first of which is trained on.

    Raises:
        SettingError: with the reason.
    """
    if len(split) != 3:
        raise SettingError("split", f"`split` has {len(split)} shares; it needs three", f"write {RIGHT}")
    if any(s < 0 for s in split) or abs(sum(split) - 1) > 1e-6:
        total = f"{100 * sum(split):g} %"
        raise SettingError("split", f"the shares of `split` add up to {total}", f"write {RIGHT}")
    if split[0] == 0:
        raise SettingError("split", "`split` leaves nothing to train on", f"write {RIGHT}")
