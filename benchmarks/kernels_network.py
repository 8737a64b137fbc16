"""A vision transformer with 2:4 layers compared with its dense form, end to end: a part of kernels.py."""

from __future__ import annotations

import statistics
from dataclasses import replace
from functools import partial

import torch
import torchvision

from recipelang.kernels.nm.registry import CANDIDATES
from recipelang.kernels.nm.timer import CudaTimer
from recipelang.kinds import Deployment
from recipelang.methods.patterns.nm import NM
from recipelang.runtimes.eager import placed
from recipelang.surgery import masks
from recipelang.surgery.network import Accelerated, Network

#: Side of an image in pixels, images per batch, and pairs of samples.
PIXELS, BATCH, PAIRS = 224, 32, 9


def network(quick: bool, gpu: torch.device) -> dict[str, object]:
    """ViT-L/16 at batch 32 (ViT-B/16 where quick), float16, random weights, its MLPs in 2:4: healthy against
    accelerated, both as CUDA graphs, alternating."""
    torch.manual_seed(0)
    name = "vit_b_16" if quick else "vit_l_16"
    module = getattr(torchvision.models, name)(weights=None)
    torch.nn.init.normal_(module.heads.head.weight, std=0.02)  # zero in torchvision: all outputs would agree
    healthy = Network(module, {"model": f"torchvision.{name}", "settings": {}}, (3, PIXELS, PIXELS))
    able = [n for n in masks.eligible(healthy, NM())[0] if ".mlp." in n]
    weights = dict(healthy.module.named_parameters())
    sparse = masks.sparsify(healthy, NM(), {n: weights[n].detach().abs() for n in able})
    layers = [n.removesuffix(".weight") for n in able]
    wanted = Accelerated(tuple(layers), tuple(kernel.name for kernel in CANDIDATES), "latency")
    # Kernels are chosen for a CUDA graph, which is what is timed; the modules themselves are not compiled.
    how = Deployment(str(gpu), "float16", compiled=True, batch=BATCH)
    both = [placed(one, how) for one in (healthy, replace(sparse, accelerated=wanted))]
    images = torch.randn(BATCH, 3, PIXELS, PIXELS, device=gpu, dtype=torch.float16)
    with torch.inference_mode():
        timer = CudaTimer(graph=True, device=gpu)
        samplers = [timer.sampler([partial(one.module, images)]) for one in both]
        pairs = [[sample() for sample in samplers] for _ in range(PAIRS)]
    dense, mine = (statistics.median(column) for column in zip(*pairs, strict=True))
    found = {path: (way.executes, way.why) for path, way in both[1].ways.items()}
    times = f"{dense * 1e3:.2f} ms dense, {mine * 1e3:.2f} ms accelerated: {dense / mine:.3f}"
    print(f"{name}, batch {BATCH}, float16: {times}")
    for path, (executes, why) in list(found.items())[:4]:
        print(f"  {path}: {executes}: {why}", flush=True)
    return {"name": name, "batch": BATCH, "dense": dense, "accelerated": mine, "ratio": dense / mine, "ways": found}
