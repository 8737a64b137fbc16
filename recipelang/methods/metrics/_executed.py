"""What metrics share that prepare the network for a runtime: how it is called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from recipelang.catalogue import setting, spell
from recipelang.errors import SettingError
from recipelang.kinds import FLOATING, PRECISIONS, Deployment, Inputs, Runtime
from recipelang.lazy import torch
from recipelang.methods.runtimes.torch import Torch
from recipelang.profile import DEVICE

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Executed:
    """A metric of the network as a runtime executes it."""

    batch: int = setting(1, type="integer", low=1, help="Images in one call.")
    threads: int = setting(1, type="integer", low=1, help="CPU threads while timing.")
    device: str = setting("cpu", type="text", help='`"cpu"`, `"cuda"` or `"cuda:1"`.')
    precision: str = setting("float32", type="word", choices=PRECISIONS, help="Of weights, images and activations.")
    compiled: bool = setting(
        False, type="boolean", help="Whether both are compiled by torch.compile, on a GPU as CUDA graphs."
    )
    runtime: Runtime = setting(Torch(), type="method", kind="runtime", later=True, help="What executes both networks.")

    def __post_init__(self) -> None:
        if not DEVICE.fullmatch(self.device):
            raise SettingError("device", f'`"{self.device}"` is not a device', 'write `"cpu"`, `"cuda"` or `"cuda:1"`')
        name, what = spell(self.runtime), self.runtime
        if self.device.partition(":")[0] not in what.devices:
            raise SettingError("device", f"{name} executes on {' and '.join(what.devices)} only", "remove `device`")
        if self.precision not in what.precisions:
            help = f"write `precision={what.precisions[0]}`"
            raise SettingError("precision", f"{name} computes in {', '.join(what.precisions)} here", help)
        if self.compiled and not what.compiles:
            raise SettingError("compiled", f"{name} has no other way of compiling networks", "remove `compiled`")

    @property
    def deployment(self) -> Deployment:
        """How the runtime is to prepare both networks."""
        return Deployment(self.device, self.precision, self.compiled, self.batch, self.threads)

    def example(self, input_shape: tuple[int, ...], inputs: Inputs = FLOATING) -> Tensor:
        """A batch of standard normal numbers, or of whole numbers, the same at every call."""
        from recipelang.surgery.tracing import drawn_inputs, placed

        drawn = drawn_inputs(inputs, (self.batch, *input_shape), torch.Generator().manual_seed(0))
        return placed(drawn, "cpu", getattr(torch, self.precision))
