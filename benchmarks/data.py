"""How long a CSV of labels and a network of timm take until training can begin, as a ratio to a bare DataLoader.

    python benchmarks/data.py [--images 50000] [--side 96] [--size 64] [--rounds 5] [--batches 40] [--folder DIR]

Two processes take turns, each from the start of Python to its first batch of training, network and data built:

- `bare`: what one writes without this package: `csv`, a list of files, PIL and torchvision.transforms in a Dataset, a
  random division, a DataLoader with one worker per core, `timm.create_model`. It looks at no file before it trains.
- `ours`: `data csv("labels.csv")`, which verifies that every file is there, divides by content and has a fingerprint,
  and `model timm.resnet18`.

The first time that ours sees the files it reads all of them, once: that is a line of its own, beside what reading and
decoding them once costs the bare loader (from `--batches` batches, for all images). Then batches of both are read in
turns, in one process. The ratio at the end is the one of ready to ready, of medians, wall time; processor time, with
that of all workers, is beside it, as it depends less on what else the machine does. Timings of the machine's disk
are those of files that its memory holds.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

BATCH, CLASSES = 64, 10


def write(folder: Path, count: int, side: int) -> None:
    """Photographs of a kind, all different, and the table that lists them."""
    import numpy as np
    from PIL import Image

    draws = np.random.default_rng(0)
    rows = ["path,label"]
    for number in range(count):
        name = f"{number % 100:02d}/{number:06d}.jpg"
        rows.append(f"{name},class{number % CLASSES}")
        file = folder / name
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            coarse = Image.fromarray(draws.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            coarse.resize((side, side), Image.Resampling.BICUBIC).save(file, quality=90)
    (folder / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def bare_data(folder: Path, size: int, workers: int) -> Any:
    """A DataLoader as one writes it."""
    import csv

    import torch
    from PIL import Image
    from torchvision import transforms

    with (folder / "labels.csv").open(newline="") as file:
        rows = [(row["path"], row["label"]) for row in csv.DictReader(file)]
    classes = sorted({label for _, label in rows})
    numbers = {name: number for number, name in enumerate(classes)}
    change = transforms.Compose(
        [
            transforms.RandomResizedCrop(size),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )

    class Listed(torch.utils.data.Dataset):  # type: ignore[type-arg]
        def __len__(self) -> int:
            return len(rows)

        def __getitem__(self, index: int) -> tuple[Any, int]:
            name, label = rows[index]
            with Image.open(folder / name) as image:
                return change(image.convert("RGB")), numbers[label]

    chosen = torch.randperm(len(rows)).tolist()[: len(rows) * 8 // 10]
    train = torch.utils.data.Subset(Listed(), chosen)
    return torch.utils.data.DataLoader(train, BATCH, shuffle=True, num_workers=workers, drop_last=True)


def our_data(folder: Path, size: int) -> Any:
    """The same as a recipe opens it."""
    from recipelang.catalogue import find

    return find("data", "csv")("labels.csv", size=size, batch=BATCH).open(lambda name: folder / name)  # type: ignore[misc]


def ready(who: str, folder: Path, size: int) -> None:
    """Build the network and read the first batch."""
    if who == "bare":
        import timm

        loader = bare_data(folder, size, os.cpu_count() or 1)
        timm.create_model("resnet18", num_classes=CLASSES)
        images, labels = next(iter(loader))
    else:
        from recipelang.catalogue import find
        from recipelang.kinds import ModelRequest, names_of

        data = our_data(folder, size)
        method: Any = find("model", "timm")
        method(architecture="resnet18").build(ModelRequest(names_of(data), data.input_shape, Path))
        images, labels = next(data.batches("train", epoch=0))
    assert tuple(images.shape) == (BATCH, 3, size, size) and len(labels) == BATCH


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Wall time, and processor time of this process and those that ended."""

    def processor() -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(one.ru_utime + one.ru_stime for one in used)

    before, start = processor(), time.perf_counter()
    work()
    return time.perf_counter() - start, processor() - before


def in_process(who: str, options: argparse.Namespace, environment: dict[str, str]) -> tuple[float, float]:
    """From the start of Python to the first batch."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); import data; from pathlib import Path; "
    code += "data.ready(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))"
    here = str(Path(__file__).parent)
    command = [sys.executable, "-c", code, here, who, str(options.folder), str(options.size)]
    return timed(lambda: subprocess.run(command, env=environment, check=True) and None)


def epochs(options: argparse.Namespace) -> dict[str, list[tuple[float, float]]]:
    """Seconds for some batches of each, in turns."""
    data = our_data(options.folder, options.size)
    workers = os.cpu_count() or 1

    def read(batches: Iterator[Any]) -> None:
        for _, _ in zip(range(options.batches), batches, strict=False):
            pass

    found: dict[str, list[tuple[float, float]]] = {"bare": [], "ours": []}
    for number in range(options.rounds):
        loader = bare_data(options.folder, options.size, workers)
        found["bare"].append(timed(lambda loader=loader: read(iter(loader))))
        found["ours"].append(timed(lambda number=number: read(data.batches("train", epoch=number))))
    return found


def told(name: str, times: list[tuple[float, float]]) -> tuple[float, float]:
    """Print the medians; return them."""
    wall, used = (statistics.median(column) for column in zip(*times, strict=True))
    print(f"{name:38} {wall:8.2f} s wall {used:8.2f} s processor")
    return wall, used


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--side", type=int, default=96, help="of the files, in pixels")
    parser.add_argument("--size", type=int, default=64, help="of the network's input")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--folder", type=Path, help="where the files are made; kept if given")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        options.folder = options.folder or Path(folder) / "images"
        write(options.folder, options.images, options.side)
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        environment["RECIPELANG_CACHE"] = os.environ["RECIPELANG_CACHE"] = str(Path(folder) / "cache")
        print(f"{options.images:,} files of {options.side}×{options.side}, inputs {options.size}×{options.size}")
        in_process("bare", options, environment)  # bytecode, and the files into memory
        first = told("ours, files never seen", [in_process("ours", options, environment)])
        times: dict[str, list[tuple[float, float]]] = {"bare": [], "ours": []}
        for _ in range(options.rounds):
            for who, some in times.items():
                some.append(in_process(who, options, environment))
        bare, ours = told("bare, ready", times["bare"]), told("ours, ready", times["ours"])
        read = epochs(options)
        whole = options.images / (options.batches * BATCH)
        of_bare, of_ours = (told(f"{who}, {options.batches} batches", read[who]) for who in ("bare", "ours"))
        once = (first[0] - ours[0]) / (of_bare[0] * whole)
        print(f"first opening: {once:.2f} of what all images take the bare loader once")
        print(f"batches: ours/bare {of_ours[0] / of_bare[0]:.2f} wall, {of_ours[1] / of_bare[1]:.2f} processor")
        print(f"ready: ours/bare {ours[0] / bare[0]:.2f} wall, {ours[1] / bare[1]:.2f} processor (aim 1.2)")


if __name__ == "__main__":
    main()
