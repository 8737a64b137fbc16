"""What every quantizer with uniform grids has: the settings that say which numbers share a grid, and of which form."""

from __future__ import annotations

from dataclasses import dataclass

from recipelang.catalogue import setting
from recipelang.errors import SettingError
from recipelang.kinds import Quantizer

GROUP = 64


@dataclass(frozen=True)
class Uniform(Quantizer):
    """A quantizer whose grids have equal steps. Its own settings come after these."""

    per: str = setting(
        "channel",
        type="word",
        choices=("channel", "tensor", "group"),
        help="What of a weight has a range of its own: each output channel, the whole weight, or each group of inputs "
        "of a channel. An activation has one range.",
    )
    form: str | None = setting(
        None,
        type="word",
        choices=("symmetric", "affine"),
        later=True,
        help="`symmetric`: zero is the integer 0; `affine`: the range is between any two numbers. Left out: symmetric "
        "for weights, affine for activations.",
    )
    group: int = setting(
        GROUP,
        type="integer",
        low=2,
        high=65536,
        later=True,
        help="How many inputs share a range with `per=group`; the last group of a channel may be smaller.",
    )

    def __post_init__(self) -> None:
        if self.group != GROUP and self.per != "group":
            raise SettingError(
                "group", "`group` does nothing without `per=group`", f"write `per=group, group={self.group}`"
            )
