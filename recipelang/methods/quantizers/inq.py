"""`inq`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.errors import SettingError
from recipelang.kinds import Moment, Observed, Restriction, Scheme
from recipelang.lazy import torch
from recipelang.methods.quantizers._learning import Symmetric, powers_of_two

if TYPE_CHECKING:
    from torch import Tensor, nn


@method("quantizer", "inq")
@dataclass(frozen=True)
class Inq(Symmetric):
    """Incremental quantization: the largest weights become powers of two first, and the others make up for it.

    What: weights that multiply by shifts, without a straight-through gradient: what is rounded stays, and what is not
        yet rounded trains in full precision.
    Formula: b bits: levels 0 and ±2^n for n = n₁ - 2^(b-2) + 1 … n₁, n₁ = ⌊log₂(4/3 · max|w|)⌋. A training is divided
        evenly into as many parts as `shares` has numbers below 1; in part k the share σ_k of the weights with the
        largest |w| stays at its nearest levels, and the others train by their gradient. At the end all are at
        their levels.
    Shapes: one set of levels for a weight (`per`).
    Needs: training after it, longer than a fine-tuning; until then every weight is at its nearest level.
    When it misleads: the learning rate should rise again where a part begins (`lr=step(…)`, or a training for each),
        which one falling schedule does not do. Weights whose share is frozen late train least.
    Source: Zhou et al. 2017, "Incremental Network Quantization", equations 2 to 4 and algorithm 1.
    """

    parts: ClassVar[tuple[str, ...]] = ("weights",)
    bits: ClassVar[tuple[int, ...]] = (2, 3, 4, 5)
    uniform: ClassVar[bool] = False
    learns: ClassVar[bool] = True

    shares: tuple[float, ...] = setting(
        (0.5, 0.75, 0.875, 1.0), type="numbers", help="Of the weights, what is rounded in each part; the last is 1."
    )

    def __post_init__(self) -> None:
        shares = self.shares
        rising = all(a < b for a, b in zip(shares, shares[1:], strict=False))
        if len(shares) < 2 or not rising or shares[0] < 0 or shares[-1] != 1:
            raise SettingError(
                "shares", "`shares` rise, and end with 1", "write `shares=[0.5, 0.75, 0.875, 1]`, the paper's"
            )

    def restriction(self, observed: Observed, scheme: Scheme) -> Restriction:
        """The powers of two below the largest weight, and zero."""
        from recipelang.surgery.restrictions.codebook import Codebook

        most = torch.maximum(-observed.low, observed.high).double()
        top = (most * 4 / 3).clamp_min(1e-30).log2().floor()
        return Codebook.of(powers_of_two(top, 2 ** (scheme.bits - 2)), scheme.axis)

    def begin(self, one: Any, value: Tensor | None) -> nn.Module:
        """Which weights are rounded, and to what."""
        assert value is not None
        state = torch.nn.Module()
        state.register_buffer("frozen", torch.zeros_like(value, dtype=torch.bool))
        state.register_buffer("held", torch.zeros_like(value.detach()))
        state.register_buffer("part", torch.tensor(-1))
        self._reach(0, one, state, value.detach())
        return state

    def computed(self, value: Tensor, one: Any, state: Any, moment: Moment) -> Tensor:
        """What is rounded, and the full precision of the others."""
        return torch.where(state.frozen, state.held, value)

    def after_step(self, parameter: Any, one: Any, state: Any, moment: Moment, optimizer: Any) -> None:
        """Round the next share where its part begins."""
        parts = len(self.shares) - 1
        self._reach(min(parts - 1, (moment.step + 1) * parts // moment.total), one, state, parameter.detach())

    def finish(self, one: Any, state: Any, value: Tensor | None) -> Any:
        """The same levels; every weight lies on them."""
        assert value is not None
        self._reach(len(self.shares) - 1, one, state, value)
        value.copy_(state.held)
        return one

    def _reach(self, part: int, one: Any, state: Any, value: Tensor) -> None:
        """Freeze the shares up to a part's."""
        while int(state.part) < part:
            state.part += 1
            count = round(self.shares[int(state.part)] * value.numel()) - int(state.frozen.sum())
            if count > 0:
                sizes = value.abs().masked_fill(state.frozen, -1).flatten()
                chosen = torch.zeros_like(state.frozen).flatten()
                chosen[sizes.topk(count).indices] = True
                chosen = chosen.view_as(state.frozen)
                state.held.copy_(torch.where(chosen, one.apply(value), state.held))
                state.frozen |= chosen
