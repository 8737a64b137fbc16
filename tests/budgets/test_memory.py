"""What a search has found out is on disk soon, whole, and read only by the same search."""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recipelang.budgets import memory
from recipelang.budgets.memory import FORMAT, Memory

#: finds out squares as fast as it can, and says each once it is known
SEARCH = """
import sys
from pathlib import Path
from recipelang.budgets import memory

memory.SAVE_EVERY = 0.0
known = memory.Memory(Path(sys.argv[1]), "squares")
print("there", len(known.known), flush=True)
for number in range(int(sys.argv[2])):
    known.of(str(number), lambda: (print("made", number, flush=True), {"square": number**2})[1])
print("end", flush=True)
"""


def test_killed_at_random_moments_nothing_is_torn_and_at_most_what_was_under_way_is_found_out_again(
    tmp_path: Path,
) -> None:
    path, made, kills = tmp_path / "search.json", list[int](), 0
    while True:
        process = subprocess.Popen(
            [sys.executable, "-c", SEARCH, str(path), "400"], stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert process.stdout is not None
        there = int(process.stdout.readline().split()[1])
        assert there >= len(set(made)) - 1, "all but the last one was kept"
        lines = list(itertools.islice(process.stdout, 60 + 17 * kills))
        if not lines or lines[-1] != "end\n":
            process.send_signal(signal.SIGKILL)
            lines += list(process.stdout)
        process.stdout.close()
        killed = process.wait() == -signal.SIGKILL
        made += [int(line.split()[1]) for line in lines if line.startswith("made")]
        told = json.loads(path.read_text())
        assert told["known"] == {str(number): {"square": number**2} for number in range(len(told["known"]))}
        if not killed:
            break
        kills += 1
    assert kills >= 2 and set(made) == set(range(400))
    assert len(made) <= 400 + kills


def test_a_second_of_findings_is_what_a_kill_costs_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    known = Memory(tmp_path / "search.json", "a")
    kept = lambda: len(Memory(tmp_path / "search.json", "a").known)  # noqa: E731
    for number in range(50):  # each takes 0.3 seconds
        now[0] += 0.3
        known.of(str(number), lambda: 1)
        assert number + 1 - kept() <= memory.SAVE_EVERY / 0.3
    now[0] += 60
    known.of("long", lambda: 1)
    assert kept() == 51, "what takes long is kept at once"


@pytest.mark.parametrize(
    "there",
    ["", "{", "[1]", "\0", '{"format": "another/1", "identity": "a", "known": {"k": 2}}']
    + [json.dumps({"format": FORMAT, "identity": "b", "known": {"k": 2}})]
    + [json.dumps({"format": FORMAT, "identity": "a", "known": [2]})],
)
def test_what_cannot_be_read_or_is_of_another_search_is_not_believed(tmp_path: Path, there: str) -> None:
    path = tmp_path / "search.json"
    path.write_text(there)
    known = Memory(path, "a")
    assert not known.known and known.of("k", lambda: (1, "x")) == [1, "x"], "as it would be read"
    known.save()
    assert Memory(path, "a").of("k", lambda: 3) == [1, "x"]
