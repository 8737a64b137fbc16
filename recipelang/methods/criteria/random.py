"""`random`."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method
from recipelang.kinds import Evidence
from recipelang.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@method("criterion", "random")
@dataclass(frozen=True)
class Random:
    """Chance: what every other criterion has to beat.

    Formula: uniform between 0 and 1, drawn from only the seed and the name of the weight or layer.
    Shapes: one score for each element of a weight O×I or O×I×k×k, or one for each layer.
    Needs: nothing.
    When it misleads: one draw says little; compare with several (`seeds 0, 1, 2`). A layer keeps its score when others
        are removed, so ranking again after a round changes nothing.
    Source: the control arm of Elkerdawy et al., "To filter prune, or to layer prune, that is the question",
        ACCV 2020.
    """

    unit: ClassVar[str] = "any"
    needs: ClassVar[tuple[str, ...]] = ()

    def score(self, evidence: Evidence) -> Mapping[str, Tensor]:
        """Candidate name → scalar if layers are ranked, else parameter name → the shape of the weight."""
        if evidence.unit == "layer":
            return {name: self._draw(evidence.seed, name, ()) for name in evidence.layers}
        return {
            name: self._draw(evidence.seed, name, tuple(weight.shape)).to(weight.device)
            for name, weight in evidence.weights.items()
        }

    def _draw(self, seed: int, name: str, shape: tuple[int, ...]) -> Tensor:
        digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
        return torch.rand(shape, generator=generator)
