"""How much watching layers disturbs, and whether torch's own profiler sees the same: networks nobody prepared.

    python benchmarks/profiles.py [NAME …]

For each network and runtime: a call that nothing watches over the sum of its layers (1 is undisturbed), and the rank
correlation of the layers' times with those of torch's profiler, which watches operations instead.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from recipelang.errors import Refusal
from recipelang.kinds import Deployment
from recipelang.measuring.layer_clock import compare_layers
from recipelang.runtimes import eager, onnx_executable
from recipelang.surgery.network import Network

CALLS = 20


def resnet18() -> nn.Module:
    from torchvision.models import resnet18 as built

    return built()


def mobilenet_v2() -> nn.Module:
    from torchvision.models import mobilenet_v2 as built

    return built()


def vit_tiny() -> nn.Module:
    from timm import create_model

    network: nn.Module = create_model("vit_tiny_patch16_224", img_size=64)
    return network


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 256), nn.ReLU(), nn.Linear(256, 10))


def enlarging() -> nn.Module:
    body = [layer for _ in range(4) for layer in (nn.Conv2d(32, 32, 3, padding=1), nn.ReLU())]
    return nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), *body, nn.Conv2d(32, 12, 3, padding=1), nn.PixelShuffle(2))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    made.__name__: made for made in (resnet18, mobilenet_v2, vit_tiny, mlp, enlarging)
}


def spans(module: nn.Module, images: torch.Tensor, paths: list[str]) -> dict[str, float]:
    """Path of a module without modules inside it → microseconds of CPU time of its span in torch's profiler."""
    handles, open_spans = [], list[Any]()
    for path in paths:
        part = module.get_submodule(path)

        def enter(_: nn.Module, __: Any, path: str = path) -> None:
            open_spans.append(torch.profiler.record_function(path))
            open_spans[-1].__enter__()

        def leave(_: nn.Module, __: Any, ___: Any) -> None:
            open_spans.pop().__exit__(None, None, None)

        handles += [part.register_forward_pre_hook(enter), part.register_forward_hook(leave)]
    with torch.inference_mode(), torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for _ in range(CALLS):
            module(images)
    for handle in handles:
        handle.remove()
    return {event.key: event.cpu_time_total / CALLS for event in profile.key_averages() if event.key in paths}


def correlation(mine: list[float], theirs: list[float]) -> float:
    """Spearman's, by the ranks."""
    ranks = [torch.tensor(each).argsort().argsort().double() for each in (mine, theirs)]
    return float(torch.corrcoef(torch.stack(ranks))[0, 1])


def main(names: list[str]) -> None:
    """Print a line for each network and runtime."""
    for name in names or NETWORKS:
        torch.manual_seed(0)
        network = Network(NETWORKS[name]().eval(), {}, (3, 64, 64))
        images = torch.randn(1, 3, 64, 64)
        for runtime, prepare in (("torch", eager.prepare), ("onnxruntime", onnx_executable.prepare)):
            try:
                ready: Any = prepare(network, Deployment())
            except Refusal as refusal:
                print(f"{name:13} {runtime:12} {refusal.code}: {refusal.message}")
                continue
            found = compare_layers(ready, ready, images, budget_s=3.0).layers
            assert found is not None
            said = f"{found.own * 1e3:7.3f} ms unwatched, layers {found.watched * 1e3:7.3f} ms, {found.n} rounds"
            said += f", ratio {found.own / found.watched:.3f}"
            if runtime == "torch":
                own = {row.layer: row.own.seconds for row in found.layers if row.own and row.layer}
                leaves = [path for path in own if not any(ready.module.get_submodule(path).children())]
                theirs = spans(ready.module, images, leaves)
                ranks = correlation([own[path] for path in leaves], [theirs[path] for path in leaves])
                said += f", rank correlation with torch's profiler {ranks:.3f} over {len(leaves)} layers"
            print(f"{name:13} {runtime:12} {said}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
