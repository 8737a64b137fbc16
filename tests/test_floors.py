"""Imports point down only: lower rooms never import higher ones, and `check` never imports torch."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from recipelang import kinds

PACKAGE = Path(__file__).parent.parent / "recipelang"

#: from the ground up; rooms of one line may import each other
FLOORS = (
    (
        *("errors", "trouble", "units", "lazy", "making", "paths", "files", "plugins", "extras"),
        *("given", "identity", "failures", "hub", "voiced", "__init__"),
    ),
    ("syntax",),
    ("kinds", "catalogue", "contracts", "plan", "profile", "trackers"),
    ("meaning",),
    ("verbs",),
    ("check", "vocabulary", "words"),
    ("editor", "migrating"),
    ("surgery", "nets", "kernels", "images", "importing", "measuring", "searching", "runtimes", "supernets"),
    ("methods",),
    ("training", "scoring", "budgets"),
    ("stages",),
    ("run",),
    ("report",),
    ("drafting",),
    ("commands", "cli", "__main__", "reference", "textmate", "pygments_lexer", "predictor", "api", "notebook"),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
#: rooms that may import torch at the top of a file
HEAVY = {
    *("surgery", "nets", "kernels", "images", "importing", "measuring", "searching", "runtimes", "supernets"),
    *("training", "scoring", "budgets", "stages", "run", "drafting", "predictor"),
}
MAY_REACH_UP = {
    # What users import from the package is loaded from these when it is first used.
    ("__init__", "api"),
    ("__init__", "run"),
    # IPython looks for `load_ipython_extension` in the package that `%load_ext` names.
    ("__init__", "notebook"),
}


def room_of(file: Path, package: Path = PACKAGE) -> str:
    """The room that a file is in: `syntax` for syntax/parse.py, `check` for check.py."""
    return file.relative_to(package).with_suffix("").parts[0]


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, module) of every import, those inside functions and under TYPE_CHECKING included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            yield node.lineno, node.module or ""
            if node.module == "recipelang":
                yield from ((node.lineno, f"recipelang.{alias.name}") for alias in node.names)


def upward(files: list[Path], package: Path = PACKAGE) -> list[str]:
    """Every import of a room on a higher floor."""
    found = []
    for file in files:
        room = room_of(file, package)
        for line, module in imports(ast.parse(file.read_text(encoding="utf-8"))):
            parts = module.split(".")
            if parts[0] != "recipelang" or len(parts) < 2 or parts[1] not in FLOOR_OF:
                continue
            if FLOOR_OF[parts[1]] > FLOOR_OF[room] and (room, parts[1]) not in MAY_REACH_UP:
                found.append(f"{file.name}:{line}: {room} imports {parts[1]}")
    return found


def files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def test_every_room_has_a_floor() -> None:
    assert {room_of(file) for file in files()} <= set(FLOOR_OF)


def test_the_page_on_architecture_has_the_same_floors() -> None:
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| (.*?) \|", page, re.MULTILINE)
    told = [{room.strip("`/ ") for room in rooms.split(",")} for _, rooms in rows]
    assert told == [set(rooms) - {"__init__"} for rooms in FLOORS]


def test_imports_point_down() -> None:
    assert upward(files()) == []


@pytest.mark.parametrize(
    "line", ["from recipelang.run.engine import execute", "import recipelang.stages", "from recipelang import cli"]
)
def test_a_planted_upward_import_is_found(tmp_path: Path, line: str) -> None:
    planted = tmp_path / "syntax" / "planted.py"
    planted.parent.mkdir()
    planted.write_text(f"def late() -> None:\n    {line}\n")
    assert len(upward([planted], tmp_path)) == 1


def graph(package: Path = PACKAGE) -> dict[str, set[str]]:
    """Module → the modules of the package that it imports, in functions and for types as well."""
    modules = {
        ".".join((package.name, *file.relative_to(package).with_suffix("").parts)): file
        for file in package.rglob("*.py")
    }
    modules = {name.removesuffix(".__init__"): file for name, file in modules.items()}
    found = {}
    for name, file in modules.items():
        used = {module for _, module in imports(ast.parse(file.read_text(encoding="utf-8")))}
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                used |= {f"{node.module}.{alias.name}" for alias in node.names}
        found[name] = (used & set(modules)) - {name, package.name}
    return found


def circles(uses: dict[str, set[str]]) -> list[tuple[str, ...]]:
    """Every pair of modules, or of rooms, that reach each other."""
    reach = {name: set(used) for name, used in uses.items()}
    for middle in reach:
        for name in reach:
            if middle in reach[name]:
                reach[name] |= reach[middle]
    return sorted((a, b) for a in reach for b in reach[a] if a < b and a in reach[b])


def rooms(uses: dict[str, set[str]]) -> dict[str, set[str]]:
    """The same between rooms."""
    found: dict[str, set[str]] = {}
    for name, used in uses.items():
        if name != PACKAGE.name:
            room = name.split(".")[1]
            found.setdefault(room, set()).update({other.split(".")[1] for other in used} - {room})
    return found


def test_no_modules_and_no_rooms_import_each_other() -> None:
    uses = graph()
    assert len(uses) > 300 and "recipelang.plan" in uses["recipelang.check"]
    assert circles(uses) == []
    assert circles(rooms(uses)) == []


def test_only_heavy_rooms_import_torch_at_the_top() -> None:
    heavy = [
        f"{file.relative_to(PACKAGE)}: {module}"
        for file in files()
        if room_of(file) not in HEAVY
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        for _, module in (imports(node) if isinstance(node, ast.Import | ast.ImportFrom) else ())
        if module.split(".")[0] in {"torch", "torchvision"}
        or module.startswith(tuple(f"recipelang.{r}" for r in HEAVY))
    ]
    assert heavy == []


def test_kinds_offers_what_its_imports_say() -> None:
    tree = ast.parse((PACKAGE / "kinds" / "__init__.py").read_text(encoding="utf-8"))
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
    said: dict[str, set[str]] = {}
    for node in imported:
        if (node.module or "").startswith("recipelang.kinds."):
            said.setdefault(str(node.module).rpartition(".")[2], set()).update(alias.name for alias in node.names)
    assert said == {file: set(names.split()) for file, names in kinds.OFFERED.items()}
    assert [name for names in kinds.OFFERED.values() for name in names.split() if not hasattr(kinds, name)] == []


#: nothing that a checked recipe needs: what reports, networks and mistakes use
HEAVY_LIBRARIES = {
    *("torch", "torchvision", "numpy", "scipy", "sklearn", "safetensors", "onnx", "onnxruntime", "PIL", "matplotlib"),
    *("jinja2", "markupsafe", "lark", "rich", "yaml", "importlib.metadata", "email", "tempfile", "multiprocessing"),
}
RECIPE = """
data digits
model digits_resnet
train for 2 epochs with sgd(lr=cosine(0.1, to=0))
prune 1 layer by imprint
prune filters by magnitude until latency < 0.7 while top1 drop < 1%
sparsify nm 2:4
distill from healthy, recovered for 1 epoch with mis, sgd(lr=1e-3)
expect top1 drop < 1%
export safetensors
"""
CHECKED = """
import sys
from recipelang.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("\\n".join(sys.modules))
"""


def test_a_checked_recipe_loads_no_heavy_library(tmp_path: Path) -> None:
    recipe = tmp_path / "r.rcp"
    recipe.write_text(RECIPE)
    run = subprocess.run(
        [sys.executable, "-c", CHECKED, "check", str(recipe)], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    loaded = {name.partition(".")[0] for name in run.stdout.split()} | set(run.stdout.split())
    assert sorted(loaded & HEAVY_LIBRARIES) == []
    ours = {name for name in loaded if name.startswith("recipelang.")}
    assert not [name for name in ours if name.split(".")[1] in HEAVY | {"report", "run"}]
