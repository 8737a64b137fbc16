"""`memory(batch=1, precision=float32, device="cpu")`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.errors import SettingError
from recipelang.kinds import PRECISIONS, Deployment, Measurement, inputs_of
from recipelang.lazy import torch
from recipelang.profile import DEVICE

if TYPE_CHECKING:
    from torch import nn


@method("metric", "memory")
@dataclass(frozen=True)
class Memory:
    """Peak memory in bytes while the deployed network computes one batch, its weights included.

    Formula: on a CPU, bytes of weights, buffers and the input, plus the largest sum, after any operation, of the
        results that are still alive; every storage counts once, so views and operations in place add nothing. The
        number is computed, and the same on every machine. On a GPU, the peak of torch's allocator during a call.
    Shapes: input batch×C×H×W through the deployed form: BatchNorm folded, in `precision`, executed by torch.
    Measured: without weights, the count is 88 % of what a process grows by during a call of 16 images of 224² for
        ResNet-18 and VGG-11, 93 % for ViT-B/32, 78 % for DenseNet-121 and 59 % for MobileNetV2; of one image it is 21 %
        (ViT-B/32, 2 of 9 MB) to 102 % (torch 2.14, one thread, AMD EPYC; benchmarks/memory.py).
    When it misleads: on a CPU, it leaves out what a kernel allocates for itself (the columns of a convolution, packed
        weights of a library), memory that an allocator keeps for later, and Python and torch themselves, which take
        some hundred megabytes. Grids of quantization are simulated in floating point and save nothing here; neither do
        masks. `runtime=onnxruntime` plans its memory in another way. Removing filters helps most where activations are
        largest, in early layers; removing layers often leaves the peak as it is.
    Source: live tensors of a schedule, as in Chen et al. 2016, "Training deep nets with sublinear memory cost"; the
        counter: torch.cuda.max_memory_allocated.
    """

    role: ClassVar[str] = "cost"
    better: ClassVar[str] = "lower"
    unit: ClassVar[str] = "B"
    source: ClassVar[str] = "structure"
    by_bits: ClassVar[bool] = False

    batch: int = setting(1, type="integer", low=1, help="Images in the call.")
    precision: str = setting("float32", type="word", choices=PRECISIONS, help="Of weights, images and activations.")
    device: str = setting("cpu", type="text", help='`"cpu"`, `"cuda"` or `"cuda:1"`.')

    def __post_init__(self) -> None:
        if not DEVICE.fullmatch(self.device):
            raise SettingError("device", f'`"{self.device}"` is not a device', 'write `"cpu"`, `"cuda"` or `"cuda:1"`')

    @property
    def machine(self) -> bool:
        """Whether the number depends on the machine."""
        return self.device != "cpu"

    def measure(self, deployed: nn.Module, network: Any, input_shape: tuple[int, ...]) -> Measurement:
        """Bytes at the peak of one call.

        Raises:
            Refusal: RCP0730: the network does not run while its operations are watched; RCP0726: it cannot compute in
                this precision; RCP1001: this machine does not have the device.
        """
        from recipelang.measuring.clock import check_device
        from recipelang.measuring.memory import peak, peak_of_cuda
        from recipelang.runtimes import eager
        from recipelang.surgery.tracing import example, placed

        place = check_device(self.device)
        before = torch.cuda.memory_allocated(place) if place.type == "cuda" else 0
        plain = (self.device, self.precision) == ("cpu", "float32")
        how = Deployment(self.device, self.precision, batch=self.batch)
        module = deployed if plain else eager.placed(network, how).module
        given = example(deployed, input_shape, self.batch, inputs_of(network))
        images = placed(given, place, getattr(torch, self.precision))
        if place.type == "cuda":
            bytes = peak_of_cuda(module, images, before)
            return Measurement(bytes, bytes, bytes)
        found = peak(module, images)
        left_out = f"not counted: tensors of layout {', '.join(found.uncounted)}" if found.uncounted else ""
        return Measurement(found.total, found.total, found.total, note=left_out)
