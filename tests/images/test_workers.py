"""Worker processes: the same samples for any number of them, and what happens when one fails, dies or is stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from recipelang.catalogue import find
from recipelang.errors import Refusal
from recipelang.images.access import reading
from recipelang.images.parts import part
from recipelang.images.workers import at, in_processes, one_thread

CODE = """
import os, random, signal, numpy, torch
from torch.utils.data import Dataset

class Toy(Dataset):
    def __init__(self, count=70, first=0):
        self.count, self.first, self.opened = count, first, os.getpid()
    def __len__(self):
        return self.count
    def __getitem__(self, k):
        generator = torch.Generator().manual_seed(self.first + k)
        x = torch.rand(3, 40, 40, generator=generator)
        x = x + torch.rand(1) + random.random() + float(numpy.random.rand())
        {extra}
        return x + (x.flatten() @ x.flatten()) / x.numel(), k % 2

def build():
    return Toy(), Toy(8, 100), Toy(8, 200)
"""
Opens = Callable[..., Any]


def children() -> set[psutil.Process]:
    """The processes below this one; some may be there before a test, such as the service of a library."""
    return set(psutil.Process().children(recursive=True))


def ended(before: set[psutil.Process]) -> bool:
    """Whether every process that was not there before has ended, within a few seconds."""
    for _ in range(100):
        if children() <= before:
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def opens(tmp_path: Path) -> Iterator[Opens]:
    before = children()

    def made(extra: str = "pass", workers: int = 0) -> Any:
        (tmp_path / "data.py").write_text(CODE.replace("{extra}", extra))
        method: Any = find("data", "python")
        with reading(trust=True):
            return method("data.py:build", batch=5, workers=workers).open(lambda text: tmp_path / text)

    yield made
    assert ended(before)


def test_samples_are_the_same_for_any_number_of_workers(opens: Opens) -> None:
    """Bit for bit, in training and in order, from the start and resumed, whole and in part."""
    threads = torch.get_num_threads()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    sets = [opens(workers=workers) for workers in (0, 1, 2)]
    assert len({data.fingerprint for data in sets}) == 1
    ways: list[dict[str, Any]] = [{"epoch": 3, "seed": 1}, {"epoch": 3, "seed": 1, "start": 3}, {"samples": 30}]
    for how in ways:
        found = [list(data.batches("train", **how)) for data in sets]
        for others in found[1:]:
            assert len(others) == len(found[0])
            for one, other in zip(found[0], others, strict=True):
                assert torch.equal(one.inputs, other.inputs) and torch.equal(one.targets, other.targets)
    some = [torch.cat([x for x, _ in part(data, torch.arange(0, 70, 3).numpy()).batches("train")]) for data in sets]
    assert torch.equal(some[0], some[1]) and torch.equal(some[0], some[2])
    assert torch.equal(torch.get_rng_state(), before), "workers draw nothing from the generator of the training"
    assert torch.get_num_threads() == threads


def test_a_reader_that_stops_early_leaves_no_process(opens: Opens) -> None:
    before = children()
    batches = opens(workers=2).batches("train", epoch=0)
    next(batches)
    assert children() - before
    batches.close()
    assert ended(before)


SOME = "if k == 17 and self.count == 70 and os.getpid() != self.opened: "
BAD = [
    ("raise KeyError('no such image')", "RCP0845", "sample 17 cannot be read: KeyError: 'no such image'"),
    ("return x, 1.5", "RCP0845", "the target of sample 17 is 1.5"),
    ("raise SystemExit(3)", "RCP0845", "sample 17 cannot be read: SystemExit: 3"),
    ("os._exit(3)", "RCP0856", "the worker that read sample 17 of `train` died: exit code 3"),
    ("os.kill(os.getpid(), signal.SIGKILL)", "RCP0856", "sample 17 of `train` died: killed by SIGKILL"),
    ("os.kill(os.getpid(), signal.SIGSEGV)", "RCP0856", "sample 17 of `train` died: killed by SIGSEGV"),
]


@pytest.mark.parametrize(("extra", "code", "words"), BAD)
def test_a_worker_that_fails_or_dies_names_the_sample(opens: Opens, extra: str, code: str, words: str) -> None:
    with pytest.raises(Refusal) as caught:
        opens(SOME + extra, workers=2)
    assert caught.value.code == code and words in caught.value.message and caught.value.help
    assert "`build` of `data.py`" in caught.value.message


def test_a_worker_may_die_later(opens: Opens) -> None:
    """The samples were all seen when the data was opened; one dies in the second epoch."""
    data = opens("if k == 17 and os.path.exists(__file__ + '.now'): os._exit(9)", workers=2)
    assert len(list(data.batches("train", epoch=0))) == 14
    file = Path(sys.modules[type(data.sources["train"].whole).__module__].__file__ or "")
    Path(f"{file}.now").touch()
    with pytest.raises(Refusal) as caught:
        list(data.batches("train", epoch=1))
    assert caught.value.code == "RCP0856" and "sample 17 of `train` died: exit code 9" in caught.value.message
    Path(f"{file}.now").unlink()
    assert len(list(data.batches("train", epoch=1))) == 14


def test_work_in_processes_is_that_of_one() -> None:
    def work(piece: int) -> tuple[int, int]:
        at(piece)
        return piece * piece, torch.get_num_threads()

    died = lambda sample, why: Refusal("RCP0856", f"{sample} {why}")  # noqa: E731
    found = [list(in_processes(work, range(20), workers, died)) for workers in (0, 1, 3)]
    assert found[0] == found[1] == found[2] == [(k * k, 1) for k in range(20)]
    before = torch.get_num_threads()
    with pytest.raises(ZeroDivisionError), one_thread():
        raise ZeroDivisionError
    assert torch.get_num_threads() == before


SCRIPT = """
import sys, time
from pathlib import Path
from recipelang.catalogue import find
from recipelang.images.access import reading
with reading(trust=True):
    data = find("data", "python")("data.py:build", batch=5, workers=2).open(lambda text: Path(sys.argv[1]) / text)
print("open", flush=True)
for epoch in range(1000):
    for batch in data.batches("train", epoch=epoch):
        print("batch", flush=True)
        time.sleep(0.05)
"""


SLOW = [pytest.param(number, marks=pytest.mark.slow) for number in (signal.SIGTERM, signal.SIGKILL)]


@pytest.mark.parametrize("number", [signal.SIGINT, *SLOW])
def test_a_stopped_run_leaves_no_worker(tmp_path: Path, number: int) -> None:
    (tmp_path / "data.py").write_text(CODE.replace("{extra}", "pass"))
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert run.stdout is not None
    while "batch" not in run.stdout.readline():
        assert run.poll() is None
    workers = psutil.Process(run.pid).children(recursive=True)
    assert len(workers) == 2
    if number == signal.SIGINT:
        os.killpg(run.pid, number)  # as a terminal does
    else:
        os.kill(run.pid, number)
    run.communicate(timeout=30)
    assert run.returncode != 0
    _, alive = psutil.wait_procs(workers, timeout=20)  # torch's workers look for their parent every five seconds
    assert not alive
