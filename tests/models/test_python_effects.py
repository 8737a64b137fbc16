"""What a model's file does when it runs: what it raises, what it leaves in the process, what it reads."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from recipelang.errors import Refusal
from tests.models.python_files import BUILD, NET, build, scale


def test_whatever_the_code_raises_is_a_refusal_that_leaves_nothing(write: Callable[[dict[str, str]], Path]) -> None:
    stop = "class Stop(BaseException):\n    pass\n\ndef build():\n    raise Stop('enough')\n"
    cases = {
        "stop": stop, "exit": "import sys\nsys.exit(2)\n", "deep": "x = " + "(" * 10_000, "null": "x = '\0'\n",
        "signs": "x = " + "-" * 100_000 + "1\n", "again": "def build():\n    return build()\n",
        "asks": "import argparse\np = argparse.ArgumentParser()\np.add_argument('--x', required=True)\n"
                "p.parse_args()\n",
        "shadow": "import sys\nsys.setrecursionlimit(200)\nsys.stdout = None\nraise ValueError\n",
    }  # fmt: skip
    folder = write({f"{name}.py": text for name, text in cases.items()})
    before = (set(sys.modules), sys.getrecursionlimit(), sys.stdout)
    for name in cases:
        with pytest.raises(Refusal) as caught:
            build(f"{name}.py:build", folder)
        assert caught.value.code == "RCP0712" and f"`{name}.py`" in caught.value.message
    left = {name for name in set(sys.modules) - before[0] if name.startswith("_recipelang_user_")}
    assert not left and (sys.getrecursionlimit(), sys.stdout) == before[1:]


def test_a_mistake_in_a_helper_is_shown_in_its_file(write: Callable[[dict[str, str]], Path]) -> None:
    folder = write({"net.py": NET + "from helper import SCALE" + BUILD, "helper.py": "x = 1\nSCALE = 1 / 0\n"})
    with pytest.raises(Refusal, match=r"ZeroDivisionError.*\(helper.py, line 2\)$"):
        build("net.py:build", folder)
    (folder / "helper.py").write_text("x = (\n")
    with pytest.raises(Refusal, match=r"SyntaxError.*helper.py, line 1\)"):
        build("net.py:build", folder)
    (folder / "helper.py").write_text("import no_such_module_here\n")
    with pytest.raises(Refusal, match=r"No module named 'no_such_module_here' \(helper.py, line 1\)$"):
        build("net.py:build", folder)
    (folder / "helper.py").write_text("SCALE = 3\n")  # a failed attempt leaves nothing behind
    assert scale(build("net.py:build", folder)) == 3


def test_what_code_does_to_the_process_is_put_back(
    write: Callable[[dict[str, str]], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    text = NET + """
import argparse, os, sys, warnings
parser = argparse.ArgumentParser()
parser.add_argument("--scale", type=float, default=3)
SCALE = parser.parse_args().scale
print("hello")
os.chdir("/")
torch.set_grad_enabled(False), torch.set_num_threads(3), torch.use_deterministic_algorithms(True)
warnings.simplefilter("error")
sys.path.append("/nowhere")
""" + BUILD  # fmt: skip
    folder = write({"net.py": text, "typed.py": NET + "torch.set_default_dtype(torch.float64)\nSCALE = 3" + BUILD,
                    "meta.py": NET + "torch.set_default_device('meta')\nSCALE = 3" + BUILD})  # fmt: skip

    def state() -> tuple[Any, ...]:
        return (
            os.getcwd(), list(sys.path), list(sys.argv), torch.is_grad_enabled(), torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(), torch.get_default_dtype(), torch.get_default_device(),
        )  # fmt: skip

    before = state()
    assert scale(build("net.py:build", folder)) == 3
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "hello\n") and state() == before
    with pytest.raises(Refusal, match="in float64; networks are trained in float32"):
        build("typed.py:build", folder)
    with pytest.raises(Refusal, match="without values: `2.weight` is on the device `meta`"):
        build("meta.py:build", folder)
    assert state() == before


@pytest.mark.filterwarnings("always")
def test_a_warning_is_shown_once_however_often_the_network_is_built(
    write: Callable[[dict[str, str]], Path], recwarn: pytest.WarningsRecorder
) -> None:
    warn = BUILD.replace("    return nn.Seq", "    import warnings\n    warnings.warn('an old way')\n    return nn.Seq")
    folder = write({"net.py": NET + "SCALE = 3" + warn})
    for _ in range(3):
        assert scale(build("net.py:build", folder)) == 3
    assert [str(warning.message) for warning in recwarn].count("an old way") == 1


def test_files_that_the_code_reads_are_named(write: Callable[[dict[str, str]], Path]) -> None:
    text = NET + """
import json
from pathlib import Path
HERE = Path(__file__).parent
SCALE = json.loads((HERE / "scale.json").read_text())
torch.save({}, HERE / "written.pt")
torch.load(HERE / "own.pth")
exec(compile((HERE / "table.py.txt").read_text(), "table", "exec"))
import torch.hub, urllib.request
""" + BUILD  # fmt: skip
    folder = write({"net.py": text, "scale.json": "3", "table.py.txt": ""})
    torch.save({"x": torch.zeros(1)}, folder / "own.pth")
    for _ in range(2):  # the second time nothing is imported
        network = build("net.py:build", folder)
        assert network.habits.notes == (
            "`net.py` reads `own.pth`, `scale.json`, `table.py.txt`: steps are not run again when they change",
        )


def test_a_package_reads_what_lies_in_it_as_a_resource(write: Callable[[dict[str, str]], Path]) -> None:
    reads = (
        "from importlib.resources import files\nSCALE = float(files(__package__).joinpath('scale.txt').read_text())\n"
    )
    text = "from pkg import SCALE\n" + NET + BUILD
    assert scale(build("net.py:build", write({"net.py": text, "pkg/__init__.py": reads, "pkg/scale.txt": "3"}))) == 3


def test_a_network_made_in_inference_mode_is_refused(write: Callable[[dict[str, str]], Path]) -> None:
    text = NET + "SCALE = 3" + BUILD.replace("def build", "@torch.inference_mode()\ndef build")
    with pytest.raises(Refusal, match="`2.weight` was made in inference mode"):
        build("net.py:build", write({"net.py": text}))
