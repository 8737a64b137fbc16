"""A run asks an operation what it needs, and nothing else: it knows no verb by name, so that a verb is two files."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from recipelang import verbs

PACKAGE = Path(verbs.__file__).parents[1]
RUN = sorted((PACKAGE / "run").glob("*.py"))
#: words of other things that are also verbs: where they may stand, and what they mean there
OTHER_THINGS = {
    "train": "a split of a data set",
    "data": "an ingredient of a key, and a line of the record",
    "control": "the reference of a drop, and a kind of variant",
    "variant": "a subject of a reading, and a kind of variant",
    "task": "a kind of method",
    "export": "a folder of the output",
    "measure": "a kind of entry of the store, and what a network is doing",
}


def nodes(file: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(file.read_text(encoding="utf-8")))


def spelled(file: Path) -> Iterator[str]:
    """Every place where a verb is spelled out."""
    for node in nodes(file):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("recipelang.verbs"):
            yield f"{file.name}:{node.lineno} imports {node.module}"
        if isinstance(node, ast.Constant) and node.value in verbs.names() and node.value not in OTHER_THINGS:
            yield f"{file.name}:{node.lineno} spells {node.value}"
        sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
        if any(isinstance(side, ast.Attribute) and side.attr == "verb" for side in sides):
            yield f"{file.name}:{node.lineno} compares a verb"  # type: ignore[attr-defined]


def sniffed(file: Path) -> Iterator[str]:
    """Every place where an operation is asked for an attribute that it may not have."""
    for node in nodes(file):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr"):
            asked = ast.unparse(node.args[0])
            if asked.split(".")[-1] in ("operation", "needs"):
                yield f"{file.name}:{node.lineno} {ast.unparse(node)}"
        typed = isinstance(node, ast.arg) and node.arg == "operation" and node.annotation
        if typed and ast.unparse(typed) in ("Any", "object"):
            yield f"{file.name}:{node.lineno} operation: {ast.unparse(typed)}"  # type: ignore[attr-defined]


def test_no_verb_is_spelled_where_steps_are_carried_out() -> None:
    assert [place for file in RUN for place in spelled(file)] == []


@pytest.mark.parametrize("room", ["run", "meaning", "commands", "stages"])
def test_an_operation_is_asked_what_it_needs_and_nothing_else(room: str) -> None:
    assert [place for file in sorted((PACKAGE / room).rglob("*.py")) for place in sniffed(file)] == []


def test_what_is_planted_is_found(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text(
        "from recipelang.verbs.prune import Prune\n"
        "def f(operation: Any, step):\n"
        "    getattr(step.operation, 'training', None)\n"
        "    return operation.verb == 'x' or BOOKS['prune']\n"
    )
    assert len(list(spelled(planted))) == 3
    assert len(list(sniffed(planted))) == 2


VERB = '''
"""`halve`: halve the weights of the layers that `in` selects."""

from dataclasses import dataclass
from typing import ClassVar

from recipelang.meaning import modules
from recipelang.meaning.verb import Clause, Verb
from recipelang.plan import Needs, Selection


@dataclass(frozen=True)
class Halve:
    """Halve weights."""

    verb: ClassVar[str] = "halve"
    version: ClassVar[int] = 1
    role: ClassVar[str] = "surgery"
    before_healthy: ClassVar[bool] = False

    selection: Selection = Selection()

    def needs(self) -> Needs:
        return Needs(selection=self.selection, restriction="halved")


def read(reader):
    reader.no_operands()
    return reader.done(Halve(modules.selection(reader)))


VERB = Verb(
    summary="Halves the weights of layers.",
    operands="nothing",
    clauses=(Clause("in", "layers"), Clause("except", "layers that stay")),
    example="halve",
    read=read,
    operation=Halve,
    restricts=True,
)
'''
STAGE = """
import torch

from recipelang.kinds import Figure
from recipelang.stages.context import Foresight, Outcome
from recipelang.surgery.selectors import resolve


def foresee(operation, network, known):
    return Foresight((f"{len(resolve(network.module, operation.selection))} modules are halved",))


@torch.no_grad()
def run(operation, context):
    network = context.network.clone()
    paths = set(resolve(network.module, operation.selection))
    halved = [p for name, p in network.module.named_parameters() if name.rpartition(".")[0] in paths]
    for weight in halved:
        weight.mul_(0.5)
    return Outcome(network, reached=(Figure("halved", len(halved), noun="weight"),))
"""


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A package with a verb, as pip would leave it: two files and two entry points."""
    package = tmp_path / "halving"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "verb.py").write_text(VERB, encoding="utf-8")
    (package / "stage.py").write_text(STAGE, encoding="utf-8")
    info = tmp_path / "halving-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: halving\nVersion: 1.0\n")
    points = "verb.halve = halving.verb:VERB\nstage.halve = halving.stage\n"
    (info / "entry_points.txt").write_text(f"[recipelang.methods]\n{points}")
    return tmp_path


def recipe(installed: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "recipelang.cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=installed,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")])},
    )


RECIPE = """
data digits(batch=64)
model digits_resnet
halve in "layer1.*"
distill from recovered for 1 step with kd, sgd(lr=1e-3)
measure params
"""


@pytest.mark.slow
def test_a_verb_is_two_files(installed: Path) -> None:
    (installed / "r.rcp").write_text(RECIPE, encoding="utf-8")
    assert "Halves the weights" in recipe(installed, "explain", "halve").stdout
    checked = recipe(installed, "check", "r.rcp")
    assert checked.returncode == 0, checked.stderr
    wrong = recipe(installed, "check", "-e", "halve until flops < 1")
    assert wrong.returncode == 1 and "halve" in wrong.stderr
    planned = recipe(installed, "plan", "r.rcp")
    assert "modules are halved" in planned.stdout, planned.stderr
    ran = recipe(installed, "run", "r.rcp")
    assert ran.returncode == 0, ran.stderr
    report = (installed / "runs" / "r-1" / "report.md").read_text(encoding="utf-8")
    assert "weights halved" in report
