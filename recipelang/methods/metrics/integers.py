"""`integers(runtime=onnxruntime)`, `integers(of=layers)`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.kinds import LayerExecution, Measurement
from recipelang.methods.metrics._executed import Executed
from recipelang.units import counted


@method("metric", "integers")
@dataclass(frozen=True)
class Integers(Executed):
    """Share of the multiply-adds that a runtime computes in integers, as it executes the network.

    Formula: multiply-adds of the layers whose products the runtime computes in integers / all multiply-adds of one
        input, those of two activations (scores of attention) included; with `of=layers`, number of such layers / number
        of layers with weights.
    Shapes: one input through the network that the runtime has optimised for `batch`: which layers are in integers is
        read there (see `latency`), not assumed from their grids.
    Use: `expect integers(runtime=onnxruntime) > 99%` fails where a layer that should be quantized is not executed so,
        and names it with the reason; after `accelerate`, `integers` alone reads the runtime that was chosen.
    When it misleads: it is not time; a layer that is slow for another reason counts like any other. torch only
        simulates integers, so without `runtime` and `accelerate` it is 0 %. Additions, activations and norms are not
        counted.
    Source: multiply-adds as of `flops`; the runtimes' own graphs.
    """

    role: ClassVar[str] = "property"
    better: ClassVar[str] = "higher"
    unit: ClassVar[str] = "%"
    source: ClassVar[str] = "execution"

    of: str = setting("macs", type="word", choices=("macs", "layers"), help="What is counted.")

    def measure(self, rows: Sequence[LayerExecution], network: Any, input_shape: tuple[int, ...]) -> Measurement:
        """The share, a fraction of 1; the note names what is in floating point.

        Raises:
            Refusal: RCP0730, RCP0731: the network's operations cannot be observed.
        """
        from recipelang.measuring import integers
        from recipelang.runtimes.layers import USUAL

        layers = self.of == "layers"
        found = integers.by_layer(rows) if layers else integers.by_work(network, rows)
        whole = counted(round(found.whole), "layer") if layers else f"{found.whole:,.0f} multiply-adds"
        note = f"of {whole}"
        if all(row.executes in USUAL for row in rows):
            note += "; no layer is in integers"
        elif found.floating:
            note += f"; in floating point: {integers.named(found)}"
        return Measurement(found.share, found.share, found.share, note=note)
