"""What `sparsify nm 2:4 with permute` spends on deep networks: finding the groups of channels, and the search.

    python benchmarks/permutation.py [--effort 3] [MODEL …]

Untrained torchvision networks, scored by magnitude. Prints seconds of processor time on one thread, what the pattern
keeps of the scores in the groups before and after the search, and how much less the sums of `kernels/nm/maxima.py`
cost than merging the columns of every split: the same search is run both ways.
"""

from __future__ import annotations

import argparse
import time
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torchvision import models

from recipelang.catalogue import find
from recipelang.kernels.nm import permutation
from recipelang.kernels.nm.permutation import kept, search
from recipelang.surgery.masks import eligible
from recipelang.surgery.network import Network
from recipelang.surgery.permute import require_groups, stacked

MODELS = ("densenet121", "resnet101", "swin_s", "efficientnet_v2_s")


def searched(found: list[Tensor], effort: int) -> tuple[float, float]:
    """Processor time of the search in all groups, and what is kept afterwards."""
    start, after = time.process_time(), 0.0
    for matrix in found:
        after += kept(matrix[:, search(matrix, 2, 4, effort=effort)], 2, 4)
    return time.process_time() - start, after


def measure(name: str, effort: int) -> None:
    """Measure one network and print its line."""
    torch.manual_seed(0)
    network = Network(models.get_model(name, weights=None), {}, (3, 64, 64))
    pattern: Any = find("pattern", "nm")(2, 4)  # type: ignore[misc]
    names = eligible(network, pattern)[0]
    start = time.process_time()
    groups = require_groups(network, names, pattern)
    grouping = time.process_time() - start
    weights = {key: network.module.get_parameter(key).detach().abs() for key in names}
    found = [stacked(weights, group) for group in groups]
    before = sum(kept(matrix, 2, 4) for matrix in found)
    seconds, after = searched(found, effort)
    with mock.patch.object(permutation._Table, "use_maxima", False):
        merging, merged = searched(found, effort)
    print(f"{name}: {len(groups)} groups found in {grouping:.1f} s and searched in {seconds:.1f} s", end="; ")
    print(f"by merging in {merging:.1f} s, {merging / seconds:.1f} times as much", end="; ")
    print(f"kept {after / before - 1:+.4%}, by merging {merged / before - 1:+.4%}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--effort", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.models:
        measure(name, options.effort)


if __name__ == "__main__":
    main()
