"""The metric `memory` beside what the operating system gives a process that runs the same network.

    python benchmarks/memory.py [--batches 1,16] [NETWORK …]

Linux only. Every line is a process of its own: it builds a network of torchvision with random weights, calls it once on
a small image, so that libraries are ready, returns free memory to the system, and then notes by how much its resident
memory grows during one call, at its peak (VmHWM of /proc/self/status, set back before). The metric counts results of
operations that are alive together; the system also counts what kernels allocate for themselves, and with `--keep` what
the allocator keeps for later: without it glibc gives every larger block back at once. Weights are left out on both
sides.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import subprocess
import sys

NETWORKS = ("resnet18", "vgg11_bn", "mobilenet_v2", "densenet121", "vit_b_32")
PIXELS = 224


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS, help="models of torchvision")
    parser.add_argument("--batches", default="1,16", help="images in a call")
    parser.add_argument("--keep", action="store_true", help="the allocator as it is")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measured(asked.networks[0], asked.one)))
        return
    environment = os.environ if asked.keep else {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    print("| network | batch | counted, MB | resident, MB | counted / resident |\n|---|---|---|---|---|")
    for name in asked.networks:
        for batch in asked.batches.split(","):
            run = [sys.executable, __file__, name, "--one", batch]
            done = subprocess.run(run, check=True, capture_output=True, text=True, env=environment)
            found = json.loads(done.stdout)
            counted, resident = found["counted"] / 1e6, found["resident"] / 1e6
            print(f"| {name} | {batch} | {counted:.1f} | {resident:.1f} | {counted / resident:.2f} |", flush=True)


def measured(name: str, batch: int) -> dict[str, int]:
    """Bytes that the metric counts for results of operations, and by which the process grows."""
    import torch
    import torchvision

    from recipelang.measuring.memory import peak
    from recipelang.surgery.folding import fold

    torch.set_num_threads(1)
    module = torchvision.models.get_model(name, weights=None).eval()
    example = torch.randn(batch, 3, PIXELS, PIXELS)
    with torch.no_grad():
        module = fold(module, example[:1])
        module(example[:1])
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        before = status("VmRSS")
        with open("/proc/self/clear_refs", "w") as peaks:
            peaks.write("5")
        module(example)
    resident = status("VmHWM") - before
    return {"counted": peak(module, example).made, "resident": resident}


def status(name: str) -> int:
    """Bytes of a line of /proc/self/status."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


if __name__ == "__main__":
    main()
