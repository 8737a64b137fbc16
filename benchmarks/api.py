"""What a call from Python costs: `import recipelang`, and a run against the same recipe on the command line.

    python benchmarks/api.py [--rounds 5]

Both runs are processes of their own that begin with nothing in their stores, in turns; times are those of the
processor, so that another process on the machine disturbs them little. `own` has the network and data of the program
in Python, and by `python("file.py:build")` on the command line.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

IMPORT = 0.1  # seconds, at most
MOST = 1.02  # of the command line, at most

RECIPE = """train for {epochs} epochs with sgd(lr=0.05)
prune 1 layer by imprint
distill from healthy for {epochs} epochs
measure top1, params
"""
OWN = """
import torch
from torch import nn
from torch.utils.data import TensorDataset


class Net(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.body = nn.Sequential(*(self.block(width) for _ in range(3)))
        self.head = nn.Linear(width, 4)

    def block(self, width):
        return nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())

    def forward(self, images):
        return self.head(self.body(self.stem(images)).mean((2, 3)))


def data():
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(2_000) % 4
    return TensorDataset(torch.rand(2_000, 1, 16, 16, generator=generator) + labels.view(-1, 1, 1, 1) / 4, labels)
"""


def programs(folder: Path, kind: str, epochs: int) -> dict[str, list[str]]:
    """Side → command, for the same recipe."""
    recipe = RECIPE.format(epochs=epochs)
    if kind == "named":
        text = f"data digits\nmodel digits_resnet\n{recipe}"
        call = f"import recipelang\nrecipelang.run({text!r}, threads=1)\n"
    else:
        (folder / "own.py").write_text(OWN)
        text = f'data python("own.py:data")\nmodel python("own.py:Net")\n{recipe}'
        call = "import recipelang\nfrom own import Net, data\n"
        call += f"recipelang.run({recipe!r}, model=Net, data=data(), threads=1)\n"
    (folder / "main.rcp").write_text(text)
    (folder / "call.py").write_text(call)
    command = [sys.executable, "-m", "recipelang", "run", "main.rcp", "--threads", "1", "--trust"]
    return {"command line": command, "python": [sys.executable, "call.py"]}


def seconds(command: Sequence[str], folder: Path) -> float:
    """Processor time of a command with an empty store."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONPATH": str(folder)}
    with tempfile.TemporaryDirectory() as empty:
        where = Path(empty)
        for file in folder.iterdir():
            (where / file.name).write_bytes(file.read_bytes())
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(done.stderr)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def importing(rounds: int) -> float:
    """Seconds that `import recipelang` takes in a new process; the median."""
    code = "import time; start = time.perf_counter(); import recipelang; print(time.perf_counter() - start)"
    told = (subprocess.check_output([sys.executable, "-c", code], text=True) for _ in range(rounds))
    return statistics.median(map(float, told))


def main() -> int:
    """Measure, print JSON, and end with 1 where a figure is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3)
    asked = parser.parse_args()
    found: dict[str, object] = {"import": importing(2 * asked.rounds + 1)}
    missed = found["import"] > IMPORT  # type: ignore[operator]
    for kind in ("named", "own"):
        with tempfile.TemporaryDirectory() as place:
            sides = programs(Path(place), kind, asked.epochs)
            taken: dict[str, list[float]] = {side: [] for side in sides}
            for _ in range(asked.rounds):
                for side, command in sides.items():
                    taken[side].append(seconds(command, Path(place)))
        ratio = statistics.median(p / c for p, c in zip(taken["python"], taken["command line"], strict=True))
        found[kind] = {"ratio": ratio, **taken}
        missed = missed or ratio > MOST
    print(json.dumps(found, indent=2))
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
