"""A process that is asked to end (SIGTERM) says one thing and ends, whatever it was doing; never with a stack."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

RUN = ("run", "-e", "model digits_lenet; data digits; measure params", "--threads", "1")
SAID = "\ninterrupted. What is finished is stored; the same command continues from there:\n  recipe "

#: `recipe`, which gets the signal when a library of this name is imported
AT_AN_IMPORT = """
import os, signal, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            os.kill(os.getpid(), signal.SIGTERM)
sys.meta_path.insert(0, Finder())
from recipelang.cli import main
main(sys.argv[2:])
"""
#: work that gets the signal where no exception can be raised, and goes on
WHILE_AN_OBJECT_IS_REMOVED = """
import os, signal, sys, time
from recipelang.commands.boundary import guarded
class Removed:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
def work():
    Removed()
    time.sleep(60)
    print("went on")
sys.exit(guarded(work, "recipe run x.rcp"))
"""


def ended(*command: str, folder: Path, after: float | None = None) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a process of Python, which gets the signal after some seconds."""
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    if after is not None:
        time.sleep(after)
        process.send_signal(signal.SIGTERM)
    out, err = process.communicate()
    return process.returncode, out, err


@pytest.mark.parametrize(
    "library", ["recipelang.syntax.parse", "numpy.linalg", "torch.nn", "recipelang.surgery.network"]
)
def test_while_a_library_is_imported(tmp_path: Path, library: str) -> None:
    code, out, err = ended("-c", AT_AN_IMPORT, library, *RUN, folder=tmp_path)
    assert (code, out) == (130, "")
    assert err == f"{SAID}run -e 'model digits_lenet; data digits; measure params' --threads 1\n"


@pytest.mark.parametrize("after", [0.05, 0.5, 1.0, 2.0, 4.0])
def test_after_some_time(tmp_path: Path, after: float) -> None:
    """Before the command has begun the system ends it, without a word; where all is done before, it is done."""
    code, _, err = ended("-m", "recipelang", *RUN, folder=tmp_path, after=after)
    assert code in (-signal.SIGTERM, 130, 0)
    assert "Traceback" not in err and "ignored" not in err and "bug" not in err
    assert (SAID in err) == (code == 130)


def test_where_no_exception_can_be_raised(tmp_path: Path) -> None:
    code, out, err = ended("-c", WHILE_AN_OBJECT_IS_REMOVED, folder=tmp_path)
    assert (code, out, err) == (130, "", f"{SAID}run x.rcp\n")
