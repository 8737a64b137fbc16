"""`with compile`: the network that trains is compiled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.catalogue import method
from recipelang.errors import Refusal
from recipelang.kinds import Companion


@method("companion", "compile")
@dataclass(frozen=True)
class Compile(Companion):
    """The network that trains, and its gradients, are compiled by `torch.compile`.

    What: what runs between matrix products is fused, which long trainings of networks with many small operations gain
        from. Compiling comes first: seconds for a small network, minutes for a deep one, in every training of the
        statement. The loss, teachers, validation and the optimizer are not compiled.
    Shapes: any; another size of batch or image is compiled again.
    Needs: a C++ compiler on a CPU, Triton on a GPU.
    Not with: losses that look inside the network, companions that decide in each step which parts compute, and weights
        or activations on grids: what they change in a running network, compiled code would not see. Masks and shared
        values hold.
    Measured: ResNet-20 in float32, batches of 128 images of 32×32, one thread of an AMD EPYC without AVX-512, torch
        2.14.1, loops by hand, three rounds of five steps in turns: 0.58 s of processor a step, compiled 0.60 s, so 0.96
        of the speed (0.92 to 1.11). Before the first step came 6.5 s of the loop's own processor time and the C++
        compiler's. In bfloat16, which this processor has no instructions for, 6.13 s a step, compiled 6.14 s (two
        rounds of three steps): 1.00 of the speed (0.99 to 1.01). It does not pay there; on a GPU it was not measured.
    Control: trains with it too, as it belongs to the training and not to the surgery.
    When it misleads: results differ from those of the same training uncompiled in the order of sums, and in what
        dropout draws. Short trainings take longer with it.
    Source: Ansel et al. 2024, "PyTorch 2: Faster Machine Learning Through Dynamic Python Bytecode Transformation and
        Graph Compilation".
    """

    ordinary: ClassVar[bool] = True
    compiles: ClassVar[bool] = True
    excludes: ClassVar[tuple[str, ...]] = ("quantized",)

    def require_network(self, network: Any) -> None:
        """Refuse a network that computes with grids.

        Raises:
            Refusal: RCP1541.
        """
        from recipelang.surgery.simulated import computing

        if found := next(iter(computing(network.restrictions)), ""):
            message = f"`compile` cannot train a network that computes with restrictions, as at `{found}`"
            raise Refusal("RCP1541", message, "leave `compile` out, or train before `quantize`")
