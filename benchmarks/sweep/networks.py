"""The networks: every classification network of torchvision, and families of timm that are unlike each other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

TORCHVISION, TIMM = "torchvision", "timm"
CLASSES = 10
#: torchvision's networks that fix the size of their input, or whose training form needs more than 64 pixels
SIZES = {"vit": 224, "maxvit": 224, "inception": 299, "googlenet": 96}
#: settings without which a constructor warns
SETTINGS: dict[str, dict[str, Any]] = {"googlenet": {"init_weights": False}, "inception_v3": {"init_weights": False}}
#: timm's networks, and the pixels on a side of their input: the fewest that the code takes
FAMILIES = {
    # convolutions: splits, concatenations, exchange between resolutions, ghosts, groups, gates
    "resnest14d": 64, "regnetz_b16": 64, "hrnet_w18_small": 64, "dla34": 64, "dla46x_c": 64, "ese_vovnet19b_dw": 64,
    "ghostnet_050": 64, "res2net50_26w_4s": 64, "dpn48b": 64, "cspresnet50": 64, "cspdarknet53": 64, "nfnet_l0": 64,
    "skresnet18": 64, "rexnet_100": 64, "repvgg_a0": 64, "mobileone_s0": 64, "tf_efficientnet_b0": 64,
    "xception41": 96, "inception_resnet_v2": 160, "nasnetalarge": 96, "hgnetv2_b0": 64, "mobilenetv4_conv_small": 64,
    "starnet_s1": 64, "repvit_m0_9": 64, "convmixer_768_32": 64,
    # convolutions that look like transformers
    "convnextv2_atto": 64, "fasternet_t0": 64, "poolformer_s12": 64, "caformer_s18": 64, "inception_next_tiny": 64,
    "edgenext_xx_small": 64, "focalnet_tiny_srf": 64, "fastvit_t8": 64, "mambaout_femto": 64,
    # attention, windows, grids, mixtures of both
    "efficientformer_l1": 224, "efficientformerv2_s0": 224, "levit_128s": 224, "mobilevit_xxs": 64,
    "mobilevitv2_050": 64, "coatnet_nano_rw_224": 224, "maxxvitv2_nano_rw_256": 256, "maxvit_rmlp_pico_rw_256": 256,
    "deit3_small_patch16_224": 224, "eva02_tiny_patch14_224": 224, "pvt_v2_b0": 64, "davit_tiny": 64,
    "xcit_nano_12_p16_224": 224, "crossvit_9_240": 240, "cait_xxs24_224": 224, "twins_svt_small": 64,
    "nest_tiny": 224, "tiny_vit_5m_224": 224, "hiera_tiny_224": 224, "volo_d1_224": 224, "swinv2_cr_tiny_224": 224,
    "gcvit_xxtiny": 224, "botnet26t_256": 256, "lambda_resnet26rpt_256": 256, "efficientvit_b0": 64,
    "efficientvit_m0": 224, "vit_tiny_patch16_224": 224, "beit_base_patch16_224": 224,
    # neither
    "mixer_s32_224": 224, "gmlp_s16_224": 224, "resmlp_12_224": 224, "sequencer2d_s": 224,
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """A network of a library.

    Attributes:
        library: `torchvision` or `timm`.
        name: in its library.
        size: pixels on a side of its input.
    """

    library: str
    name: str
    size: int

    def build(self) -> nn.Module:
        """The network without weights, for ten classes."""
        return BUILDERS[self.library](self.name)


def _torchvision(name: str) -> nn.Module:
    from torchvision import models

    module: nn.Module = models.get_model(name, weights=None, num_classes=CLASSES, **SETTINGS.get(name, {}))
    return module


def _timm(name: str) -> nn.Module:
    import timm

    module: nn.Module = timm.create_model(name, pretrained=False, num_classes=CLASSES)
    return module


BUILDERS: dict[str, Callable[[str], nn.Module]] = {TORCHVISION: _torchvision, TIMM: _timm}


def cases() -> list[Case]:
    """All of them: torchvision's by name, timm's in the order above."""
    from torchvision import models

    found = [
        Case(TORCHVISION, name, next((size for start, size in SIZES.items() if name.startswith(start)), 64))
        for name in models.list_models(module=models)
    ]
    return found + [Case(TIMM, name, size) for name, size in FAMILIES.items()]
