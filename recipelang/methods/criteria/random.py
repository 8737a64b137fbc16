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

    Formula: uniform between 0 and 1, drawn from only the seed and the name of the weight, group of filters or layer.
    Shapes: one score for each element of a weight O×I or O×I×k×k, for each filter of a group, or for each layer.
    Needs: nothing.
    When it misleads: one draw says little; compare with several (`seeds 0, 1, 2`). A layer keeps its score when others
        are removed, so ranking again after a round changes nothing.
    Source: the control arm of Elkerdawy et al., "To filter prune, or to layer prune, that is the question",
        ACCV 2020.
    """

    unit: ClassVar[str] = "any"
    needs: ClassVar[tuple[str, ...]] = ()

    def score(self, evidence: Evidence) -> Mapping[str, Tensor]:
        """Name of a weight, group of filters or layer → its scores, of the shape that is ranked."""
        return {name: self._draw(evidence.seed, name, shape) for name, shape in evidence.shapes.items()}

    def _draw(self, seed: int, name: str, shape: tuple[int, ...]) -> Tensor:
        digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
        return torch.rand(shape, generator=generator)
