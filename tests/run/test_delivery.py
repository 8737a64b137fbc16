"""One tracker in its thread: what it is told, and what its failures do to a run, which is nothing."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from recipelang.kinds import Scalar, TrackedRun
from recipelang.run import delivery as module
from recipelang.run.delivery import LONGEST_QUEUE, Delivery
from recipelang.run.memory import FILE, Memory


@dataclass
class Fake:
    """A tracker and its session in one; `fails` names what raises, `hangs` what does not return until `free`."""

    token: str = "t1"
    where: str = "here"
    unended: str = "it stays open, until you close it"
    fails: str = ""
    hangs: str = ""
    networks: bool = False
    free: threading.Event = field(default_factory=threading.Event)
    told: list[tuple[str, str, int]] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    loaded_in: threading.Thread | None = None

    def require(self) -> None: ...

    def load(self) -> None:
        if self.fails == "load":
            raise ImportError("libmissing.so: cannot open shared object file")
        self.loaded_in = threading.current_thread()

    def placed(self, folder: Path) -> Fake:
        return self

    def begin(self, run: TrackedRun) -> Fake:
        self._at("begin")
        return self

    def metrics(self, network: str, points: Sequence[Scalar]) -> None:
        self._at("metrics")
        self.told += [(network, point.name, point.step) for point in points]

    def network(
        self, network: str, params: Mapping[str, str], results: Mapping[str, float], tags: Mapping[str, str]
    ) -> None:
        self._at("network")

    def file(self, path: Path, name: str, network: str = "") -> None:
        self._at("file")

    def finish(self, status: str) -> None:
        self._at("finish")
        self.ended.append(status)

    def _at(self, what: str) -> None:
        if self.hangs == what:
            self.free.wait(30)
        if self.fails == what:
            raise SystemExit("no such server\nand more")  # also what would end a process


def delivery(tracker: Fake, folder: Path, memory: Memory | None = None, **limits: Any) -> Delivery:
    memory = memory or Memory(folder, "same")
    run = TrackedRun("first", "first-1", "", folder, token=memory.token("fake"))
    return Delivery("fake", "fake", tracker, run, memory, **limits)


def curve(name: str, *steps: int) -> list[Scalar]:
    return [Scalar(name, 1.0, step, 0.0) for step in steps]


def test_points_arrive_in_order_and_each_once(tmp_path: Path) -> None:
    fake = Fake()
    told = delivery(fake, tmp_path)
    told.points("main", curve("loss", 1, 2, 2, 1, 3))
    told.points("other", curve("loss", 1))
    told.points("main", curve("loss", 3, 4))
    told.call(lambda session: session.finish("finished"))
    told.wait()
    told.end()
    order = [step for network, _, step in fake.told if network == "main"]
    assert order == [1, 2, 3, 4] and ("other", "loss", 1) in fake.told
    assert len(fake.told) == 5 and fake.ended == ["finished"]
    assert (told.trouble, told.slow, told.where) == ("", "", "here")
    assert told.networks == {"main", "other"}


def test_a_library_is_imported_in_the_thread_of_the_run(tmp_path: Path) -> None:
    fake = Fake()
    told = delivery(fake, tmp_path)
    assert fake.loaded_in is threading.current_thread()
    told.end()


def test_a_library_that_cannot_be_imported_ends_tracking_alone(tmp_path: Path) -> None:
    told = delivery(Fake(fails="load"), tmp_path)
    told.settle(30)
    told.points("main", curve("loss", 1))
    told.call(lambda session: session.finish("finished"))
    told.wait()
    told.end()
    assert told.trouble == "ImportError: libmissing.so: cannot open shared object file"


@pytest.mark.parametrize("what", ["begin", "metrics", "finish"])
def test_what_a_tracker_raises_ends_tracking_alone(tmp_path: Path, what: str) -> None:
    told = delivery(Fake(fails=what), tmp_path)
    told.points("main", curve("loss", 1))
    told.call(lambda session: session.finish("finished"))
    told.wait()
    assert told.trouble == "SystemExit: no such server"
    told.points("main", curve("loss", 2))
    told.call(lambda session: session.finish("finished"))
    told.wait()  # at once


@pytest.mark.parametrize("what", ["begin", "metrics"])
def test_a_tracker_that_hangs_is_given_up(tmp_path: Path, what: str) -> None:
    fake = Fake(hangs=what)
    told = delivery(fake, tmp_path, begin_s=0.05, call_s=0.05, end_s=0.2)
    told.points("main", curve("loss", 1))
    told.call(lambda session: session.finish("finished"))
    told.wait()
    assert "it did not" in told.trouble
    fake.free.set()
    time.sleep(0.05)
    assert fake.ended == []  # what it is told no more, it is not told late either


@pytest.mark.parametrize(("status", "marked"), [("finished", "failed"), ("interrupted", "interrupted")])
def test_a_tracker_that_is_back_at_the_end_ends_its_run_as_failed(tmp_path: Path, status: str, marked: str) -> None:
    fake = Fake(fails="metrics")
    told = delivery(fake, tmp_path)
    told.points("main", curve("loss", 1))
    told.wait()
    fake.fails = ""
    assert told.close(status, 30) == "its run there is marked as ended, and lacks what was not told"
    assert fake.ended == [marked]


@pytest.mark.parametrize("fault", [{"fails": "finish"}, {"hangs": "metrics"}])
def test_a_tracker_that_stays_away_leaves_its_run_and_says_how_to_end_it(tmp_path: Path, fault: dict[str, str]) -> None:
    fake = Fake(**fault)  # type: ignore[arg-type]
    told = delivery(fake, tmp_path, call_s=0.05, end_s=0.2)
    told.points("main", curve("loss", 1))
    told.call(lambda session: session.finish("finished"))
    told.wait()
    assert told.close("finished", 0.2) == "its run there was not ended: it stays open, until you close it"
    fake.free.set()
    assert fake.ended == []


@pytest.mark.parametrize("fails", ["", "load", "begin"])
def test_nothing_is_left_open_by_a_tracker_that_ended_or_never_began(tmp_path: Path, fails: str) -> None:
    fake = Fake(fails=fails)
    told = delivery(fake, tmp_path)
    told.call(lambda session: session.finish("finished"))
    told.wait()
    told.end()
    assert told.close("finished") == "" and fake.ended == ([] if fails else ["finished"])


def test_beginning_may_take_longer_than_a_call(tmp_path: Path) -> None:
    """The tables of a new database are created then."""
    fake = Fake(hangs="begin")
    told = delivery(fake, tmp_path, begin_s=30, call_s=0.01, end_s=30)
    time.sleep(0.03)
    told.look()
    told.points("main", curve("loss", 1))
    assert told.trouble == ""
    fake.free.set()
    told.wait()
    told.end()
    assert told.trouble == "" and len(fake.told) == 1


def test_a_call_that_takes_too_long_is_noticed_while_the_run_works(tmp_path: Path) -> None:
    fake = Fake(hangs="metrics")
    told = delivery(fake, tmp_path, call_s=0.01, end_s=5)
    told.points("main", curve("loss", 1))
    told.call(lambda session: session.finish("finished"))
    deadline = time.monotonic() + 20
    while not told.trouble and time.monotonic() < deadline:
        time.sleep(0.02)
        told.look()
    assert told.trouble == "it did not answer for 0.01 s"
    fake.free.set()


def test_where_the_queue_is_full_points_are_left_out_and_counted(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "COLLECT_S", 0.0)
    fake = Fake(hangs="metrics")
    told = delivery(fake, tmp_path, call_s=30, end_s=30)
    for step in range(LONGEST_QUEUE + 10):
        told.points("main", curve("loss", step))
    assert told.left_out in (9, 10)  # the thread may hold one
    fake.free.set()
    told.call(lambda session: session.finish("finished"))
    told.wait()
    assert told.trouble == "" and "points of curves left out" in told.slow
    assert len(fake.told) == LONGEST_QUEUE + 10 - told.left_out


def test_a_continued_run_is_told_only_what_it_has_not(tmp_path: Path) -> None:
    first = delivery(Fake(), tmp_path)
    first.points("main", curve("loss", 1, 2))
    first.wait()
    memory, fake = Memory(tmp_path, "same"), Fake()
    assert memory.token("fake") == "t1"
    again = delivery(fake, tmp_path, memory)
    again.points("main", curve("loss", 1, 2, 3))
    again.wait()
    assert fake.told == [("main", "loss", 3)]
    memory.ended()
    assert Memory(tmp_path, "same").token("fake") == ""
    assert Memory(tmp_path, "other").token("fake") == ""


def test_a_run_that_the_tracker_has_lost_is_told_in_whole(tmp_path: Path) -> None:
    first = delivery(Fake(), tmp_path)
    first.points("main", curve("loss", 1, 2))
    first.wait()
    fake = Fake(token="t2")
    again = delivery(fake, tmp_path, Memory(tmp_path, "same"))
    deadline = time.monotonic() + 20
    while not again.where and time.monotonic() < deadline:
        time.sleep(0.01)
    again.points("main", curve("loss", 1, 2, 3))
    again.wait()
    assert [step for _, _, step in fake.told] == [1, 2, 3]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"format": 2}',
        '{"format": 1, "identity": "same", "ended": false, "trackers": {"fake": {"token": 5, "marks": {}}}}',
        '{"format": 1, "identity": "same", "ended": false, "trackers": {"fake": {"token": "t", "marks": {"a": 1}}}, '
        '"begins": {}, "steps": {}}',
        "[" * 100_000,
    ],
)
def test_a_file_that_no_run_wrote_is_no_memory(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    memory = Memory(tmp_path, "same")
    assert (memory.token("fake"), memory.marks("fake")) == ("", {})


def test_trainings_go_on_counting_and_a_continued_one_counts_as_before(tmp_path: Path) -> None:
    memory = Memory(tmp_path, "same")
    assert memory.first("main|train|0", "main|train") == 0
    memory.reached("main|train", 40)
    assert memory.first("main|train|3", "main|train") == 40
    memory.reached("main|train", 55)
    memory.save()
    again = Memory(tmp_path, "same")
    assert again.first("main|train|3", "main|train") == 40
    assert again.first("main|train|5", "main|train") == 55
    assert json.loads((tmp_path / FILE).read_text())["steps"] == {"main|train": 55}
