"""`model srresnet`: a network for super-resolution."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import ModelRequest
from recipelang.methods.models._own import require_file


@method("model", "srresnet")
@dataclass(frozen=True)
class SRResNet:
    """SRResNet for super-resolution: residual blocks at the size of the input, then enlargement by shuffled pixels.

    By default it is small, to train in a minute; `srresnet(blocks=16, filters=64)` is the published one. Every residual
    block can be removed. Its answer is an image of 0…1, which it does not clip.
    Shapes: B×C×H×W → B×C×(scale·H)×(scale·W), for any height and width.
    Source: Ledig et al. 2017, Photo-realistic single image super-resolution, section 2.1; PixelShuffle of Shi et al.
    2016.
    """

    tasks: ClassVar[tuple[str, ...]] = ("superresolution",)

    scale: int | None = setting(None, type="integer", low=2, high=8, help="How many times larger; default: the task's.")
    blocks: int = setting(4, type="integer", low=1, high=64, help="Residual blocks.")
    filters: int = setting(16, type="integer", low=4, high=512, help="Channels inside the network.")
    weights: str = setting("", type="text", hashed=False, help="File of weights: safetensors, or a plain state dict.")
    at: str = setting(
        "",
        type="text",
        help="State dict in the file, or prefix of its names; default `state_dict`, `model_state_dict`, `model`.",
    )

    def __post_init__(self) -> None:
        require_file(self.at, self.weights)

    @property
    def pretrained(self) -> bool:
        """Whether the network starts from weights and not from random numbers."""
        return bool(self.weights)

    def files(self, resolve: Callable[[str], Path]) -> tuple[Path, ...]:
        """The weights file, if there is one; all shards of an index."""
        from recipelang.surgery.checkpoints import files_of

        return files_of(resolve(self.weights)) if self.weights else ()

    def build(self, request: ModelRequest) -> Any:
        """The network; see `kinds.ModelMethod`."""
        from recipelang.nets.srresnet import SRResNet as Net
        from recipelang.surgery.assembly import assemble
        from recipelang.surgery.checkpoints import weights_for

        shape = request.input_shape or (3, 24, 24)
        scale = self.scale or int(getattr(request.task, "scale", 2))
        return assemble(
            Net(scale, self.blocks, self.filters, shape[0]),
            request,
            model="srresnet",
            settings={"scale": scale, "blocks": self.blocks, "filters": self.filters},
            input_shape=shape,
            weights=weights_for(request, self.weights, self.at),
        )
