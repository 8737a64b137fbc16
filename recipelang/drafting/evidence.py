"""What comments quote: one sentence for each finding, as it was measured, with the page that has the figures.

Nothing is said here that no page of docs/ says, or the source that is named; a test looks for the figures there.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """A finding and where it stands.

    Attributes:
        text: one sentence.
        page: of the repository, or the source.
        figures: what the page says literally, for the test.
    """

    text: str
    page: str
    figures: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.text} ({self.page})"


LAYERS_SAVE_TIME = Finding(
    "with a seventh of its FLOPs gone by filters, ResNet-56 took 0.94 to 1.05 of the time, by layers 0.83 to 0.88",
    "docs/studies/layers_or_filters.md",
    ("with a seventh of its FLOPs gone by filters", "0.94 to 1.05", "0.83 to 0.88"),
)
FILTERS_AT_EQUAL_FLOPS = Finding(
    "at equal FLOPs filters of ResNet-56 were 0.8 to 4.1 points more accurate than layers",
    "docs/studies/layers_or_filters.md",
    ("0.8 to 4.1 points more accurate",),
)
FILTERS_BY_MAGNITUDE = Finding(
    "of four criteria for filters, magnitude kept most there, 89.3 %",
    "docs/studies/layers_or_filters.md",
    ("`magnitude`, filters | 89.3 ± 0.1 %",),
)
LAYERS_AT_DEEP_CUTS = Finding(
    "at equal time the two were on a par at 0.85 of the latency, and layers 3 points ahead at 0.70",
    "docs/studies/torch_pruning.md",
    ("85.2 ± 0.4 %", "81.9 ± 1.9 %"),
)
SMALL_BATCHES_ON_A_GPU = Finding(
    "a GPU is not busy with a small batch, so fewer filters save hardly any time there, and fewer layers do",
    "Elkerdawy 2022, chapter 8",
)
LARGE_BATCHES_ON_A_GPU = Finding(
    "larger batches make better use of a GPU, and what filters save then depends on the share taken from each layer",
    "Elkerdawy 2022, chapter 8",
)
RECOVERY = Finding(
    "ResNet-56 without ten of its blocks ended 0.3 points below its control after two epochs of distillation on 45,000 "
    "images, and 2.4 points below after 78 steps",
    "docs/studies/layers_int8.md",
    (
        "for two epochs (702 steps)",
        "| layers | 89.72 ± 0.12 % | −0.3",
        "for 78 steps on 10,000 images",
        "2.4 points below",
    ),
)
DISTILLATION = Finding(
    "distillation can be considered in all scenarios",
    "Elkerdawy 2022, chapter 8",
)
INTEGERS = Finding(
    "8-bit integers took 0.29 to 0.52 of the time of float32 for four convolutional networks, one image",
    "docs/quantization.md",
    ("ResNet-50, 1 | 36.2 ms | 0.325 | | | 35.3 ms | **0.288**", "MobileNetV2, 1 | 3.86 ms | 0.519"),
)
INTEGERS_KEEP_ACCURACY = Finding(
    "and cost ResNet-56 about 0.1 points on CIFAR-10",
    "docs/quantization.md",
    ("`by mse` | −0.05",),
)
INTEGERS_OF_TRANSFORMERS = Finding(
    "a transformer encoder took 0.360 of float32's time in onnxruntime",
    "docs/quantization.md",
    ("0.360 by", "`dynamic`"),
)
INTEGERS_AND_SIZE = Finding(
    "8-bit integers made the file of ResNet-56 0.266 of its size",
    "docs/studies/layers_int8.md",
    ("| int8 | 90.35 ± 0.04 % |", "| 0.266 |"),
)
BOTH_MULTIPLY = Finding(
    "what layers and integers save multiplies: 0.46 · 0.58 of the time in onnxruntime, and 0.27 was measured",
    "docs/studies/layers_int8.md",
    ("0.46 · 0.58 = 0.27 against 0.27 in onnxruntime",),
)
TWO_FOUR = Finding(
    "sparse kernels compute in float16 or bfloat16; their speed on a GPU is not measured there yet, this run does it",
    "docs/kernels.md",
    ("Nothing has been measured on a GPU yet", "Sparse kernels compute in float16 or bfloat16"),
)
COVERED = Finding(
    "heads and neurons of transformers are removed with the same answers as the network in which they are zero",
    "docs/coverage.md",
    ("pruned with parity",),
)

ALL = tuple(value for value in list(globals().values()) if isinstance(value, Finding))
