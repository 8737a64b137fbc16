"""An answer is given again where nothing has changed; any change of what it rests on is noticed without torch.

That the answer is the one of the walk, `Lab.run` asserts wherever a test of this folder runs a recipe again.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import recipelang
from recipelang.errors import Refusal
from recipelang.kinds import Quiet
from recipelang.run import answers, engine, surroundings
from recipelang.run.options import Options
from recipelang.run.store import Store

RECIPE = """
data folder("photos", size=8, channels=1, batch=4)
model digits_resnet(weights="w.safetensors")
prune 1 layers by magnitude
measure params
export safetensors
"""


@dataclasses.dataclass(frozen=True)
class Answered:
    """A folder with a recipe that was run, its data and weights; and a second meaning of their names."""

    folder: Path
    lab: Any

    def options(self, **changes: Any) -> Options:
        settings: dict[str, Any] = {"resolve": lambda text: self.folder / text, "store": self.folder / "store"}
        return self.lab.options(**{**settings, "out": self.folder / "out", **changes})

    def recalled(self, text: str = RECIPE, asked: Any = None, **changes: Any) -> bool:
        """Whether the answer is given again."""
        return answers.recall(self.lab.checked(text, **(asked or {})), self.options(**changes), Quiet()) is not None


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, lab: Any) -> Answered:
    """Run once, with a copy of everything beside it."""
    from safetensors.torch import save_file

    from recipelang.nets.digits_resnet import digits_resnet

    folder = tmp_path_factory.mktemp("answered") / "here"
    draws = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(10):
            pixels = draws.integers(0, 256, (8, 8), np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / name / f"{number}.png")
    save_file(digits_resnet(channels=1, classes=2, width=1.0).state_dict(), folder / "w.safetensors")
    found = Answered(folder, lab)
    result = engine.execute(lab.checked(RECIPE), found.options(), Quiet())
    assert result.exit_code == 0, result.diagnostics
    shutil.copytree(folder, folder.parent / "copy")
    return found


@pytest.fixture
def answered(made: Answered) -> Answered:
    """Everything as it was after the run."""
    shutil.rmtree(made.folder)
    shutil.copytree(made.folder.parent / "copy", made.folder)
    return made


@pytest.fixture(autouse=True)
def as_in_a_new_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("RECIPELANG_CACHE", str(tmp_path / "cache"))
    yield
    monkeypatch.undo()
    surroundings.surroundings.cache_clear()


def test_an_unchanged_run_is_answered_with_its_networks_and_exports(answered: Answered) -> None:
    before = {path: path.read_bytes() for path in (answered.folder / "out").rglob("*.safetensors")}
    assert len(before) == 4  # weights and restrictions, as written and as exported
    shutil.rmtree(answered.folder / "out")
    result = answers.recall(answered.lab.checked(RECIPE), answered.options(command="recipe run again"), Quiet())
    assert result is not None and result.exit_code == 0
    assert "2 steps: 2 from the store, 0 done" in result.summary
    assert result.report["command"] == "recipe run again"
    assert {path: path.read_bytes() for path in before} == before
    steps = [step for run in result.report["variants"][1]["runs"] for step in run["steps"]]
    assert [(step["verb"], step["cached"]) for step in steps if step["cached"]] == [("prune", True)]


def altered(path: Path) -> None:
    """Another byte at the end, with the old time: only its content tells."""
    status = path.stat()
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    import os

    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def entry_of(answered: Answered, verb: str) -> Path:
    """The folder of the entry of a verb."""
    found = []
    for folder in Store(answered.folder / "store").entries():
        if json.loads((folder / "manifest.json").read_text())["ingredients"]["verb"] == verb:
            found.append(folder)
    return found[0]


def resealed(folder: Path) -> None:
    """An entry that was made again, with other numbers."""
    import hashlib

    said = json.loads((folder / "manifest.json").read_text())
    said["record"]["value"] = 1.0
    text = json.dumps(said)
    (folder / "manifest.json").write_text(text)
    (folder / "manifest.sha256").write_text(hashlib.sha256(text.encode()).hexdigest() + "\n")


def an_image_more(answered: Answered) -> None:
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(answered.folder / "photos" / "cat" / "more.png")


#: what is changed in the files → how
FILES: dict[str, Callable[[Answered], Any]] = {
    "another image": lambda a: Image.fromarray(np.zeros((8, 8), np.uint8)).save(a.folder / "photos/cat/0.png"),
    "an image more": an_image_more,
    "an image less": lambda a: (a.folder / "photos/dog/0.png").unlink(),
    "an image of another class": lambda a: (a.folder / "photos/dog/0.png").rename(a.folder / "photos/cat/new.png"),
    "a class more": lambda a: shutil.copytree(a.folder / "photos/dog", a.folder / "photos/wolf"),
    "a file that the data skips and names": lambda a: (a.folder / "photos/cat/notes.txt").write_text("?"),
    "no data": lambda a: shutil.rmtree(a.folder / "photos"),
    "other weights": lambda a: altered(a.folder / "w.safetensors"),
    "no weights": lambda a: (a.folder / "w.safetensors").unlink(),
    "a network in the store": lambda a: altered(entry_of(a, "prune") / "model.safetensors"),
    "a step that is gone": lambda a: shutil.rmtree(entry_of(a, "prune")),
    "a measurement that is gone": lambda a: shutil.rmtree(entry_of(a, "measure")),
    "a measurement that was taken again": lambda a: resealed(entry_of(a, "measure")),
    "the answer": lambda a: altered(next((a.folder / "store/answers/store").glob("*/*/report.json"))),
    "no store": lambda a: shutil.rmtree(a.folder / "store"),
}


@pytest.mark.parametrize("change", FILES)
def test_a_changed_file_is_noticed(answered: Answered, change: str) -> None:
    FILES[change](answered)
    assert not answered.recalled()


#: what is asked for → arguments of `recalled`
REQUESTS: dict[str, dict[str, Any]] = {
    "another setting": {"text": RECIPE.replace("magnitude", "random")},
    "a comment": {"text": RECIPE + "# a remark\n"},
    "a statement more": {"text": RECIPE + "finetune for 1 steps\n"},
    "a control": {"text": RECIPE + "finetune for 1 steps\n", "asked": {"control": True}},
    "seeds": {"asked": {"seeds": (1,)}},
    "another model": {"asked": {"model": "digits_lenet"}},
    "other data": {"asked": {"data": "digits"}},
    "threads": {"threads": 2},
    "device": {"device": "cuda"},
    "everything, not a few batches": {"smoke": False},
    "links": {"follow_links": True},
    "fresh": {"fresh": True},
    "code of the recipe may run": {"trust": True},
    "another store": {"store": Path("/nonexistent")},
}


@pytest.mark.parametrize("change", REQUESTS)
def test_another_request_is_noticed(answered: Answered, change: str) -> None:
    assert not answered.recalled(**REQUESTS[change])


def test_another_meaning_of_a_name_is_noticed(answered: Answered) -> None:
    shutil.copytree(answered.folder / "photos", answered.folder / "others")
    (answered.folder / "others/cat/0.png").unlink()
    names = {"photos": "others"}
    assert not answered.recalled(resolve=lambda text: answered.folder / names.get(text, text))

    def refuse(text: str) -> Path:
        raise Refusal("RCP1214", "no such place")

    assert not answered.recalled(resolve=refuse)


def touched_project(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    shutil.copytree(Path(recipelang.__file__).parent, folder / "recipelang", ignore=shutil.ignore_patterns("*.pyc"))
    (folder / "recipelang/stages/prune.py").touch()
    monkeypatch.setattr(recipelang, "__file__", str(folder / "recipelang/__init__.py"))


def installed(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    (folder / "torch-99.dist-info").mkdir()
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])


SURROUNDINGS: dict[str, Callable[[pytest.MonkeyPatch, Path], None]] = {
    "a file of the project": touched_project,
    "a package": installed,
    "the processor": lambda patch, _: patch.setattr(surroundings, "cpu_model", lambda: "another"),
    "its cores": lambda patch, _: patch.setattr(surroundings, "cores", lambda: 77),
    "its features": lambda patch, _: patch.setattr(surroundings, "cpu_features", lambda: ("new",)),
    "a device": lambda patch, _: patch.setattr(surroundings, "DEVICES", (*surroundings.DEVICES, "/dev/null")),
    "a hidden device": lambda patch, _: patch.setenv("CUDA_VISIBLE_DEVICES", "7"),
    "the system": lambda patch, _: patch.setattr(surroundings.platform, "platform", lambda: "another"),
}


@pytest.mark.parametrize("change", SURROUNDINGS)
def test_other_software_or_another_machine_is_noticed(
    answered: Answered, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: str
) -> None:
    surroundings.surroundings.cache_clear()
    assert answered.recalled()
    surroundings.surroundings.cache_clear()
    SURROUNDINGS[change](monkeypatch, tmp_path)
    assert not answered.recalled()


def test_a_changed_plugin_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from importlib.metadata import EntryPoint

    from recipelang import plugins

    (tmp_path / "extra_methods").mkdir()
    file = tmp_path / "extra_methods" / "__init__.py"
    file.write_text("one = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    point = EntryPoint("criterion.extra", "extra_methods:One", plugins.GROUP)
    monkeypatch.setattr(plugins, "declared", lambda: {("criterion", "extra"): point})
    before = surroundings.surroundings()
    surroundings.surroundings.cache_clear()
    assert surroundings.surroundings() == before
    file.write_text("one = 2\n# longer\n")
    surroundings.surroundings.cache_clear()
    assert surroundings.surroundings()["code"] != before["code"]


def test_a_run_that_failed_or_could_not_measure_has_no_answer(apart: Any) -> None:
    failing = "model digits_resnet\ndata digits\nprune 1 layers by random\nprune layers by random until params < 0.01\n"
    assert apart.run(failing).code == 3
    assert not (apart.folder / "store" / "answers" / "store").exists()


def test_answers_are_freed_with_their_runs(answered: Answered) -> None:
    store = Store(answered.folder / "store")
    store.gc()
    assert answered.recalled()
    shutil.rmtree(answered.folder / "out")
    assert store.gc(dry_run=True).bytes > 0 and answered.recalled(out=answered.folder / "out")
    shutil.rmtree(answered.folder / "out")
    store.gc()
    assert not list(Store(store.root / "answers").entries()) and not list(store.entries())


def test_a_plan_is_answered_where_everything_is_stored(answered: Answered, monkeypatch: pytest.MonkeyPatch) -> None:
    from recipelang.run import planning

    monkeypatch.setattr(answers, "busy", lambda: False)
    monkeypatch.setattr(planning, "busy", lambda: False)
    plan, options = answered.lab.checked(RECIPE), answered.options()
    assert answers.recall_plan(plan, options, Quiet()) is None
    walked = planning.make(plan, options)
    assert answers.recall_plan(plan, options, Quiet()) == walked and not walked.work_to_do
    assert answers.free_plans(dry_run=True) == answers.free_plans() > 0 == answers.free_plans()
    assert answers.recall_plan(plan, options, Quiet()) is None
    planning.make(plan, options)
    assert answers.recall_plan(plan, options, Quiet()) == walked
    shutil.rmtree(entry_of(answered, "prune"))
    assert answers.recall_plan(plan, options, Quiet()) is None
    assert planning.make(plan, options).work_to_do
    assert answers.recall_plan(plan, options, Quiet()) is None, "what is missing may come back"


def test_times_of_a_busy_machine_are_not_told_of_an_idle_one(
    answered: Answered, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recipelang.run import planning

    load = [True]
    monkeypatch.setattr(answers, "busy", lambda: load[0])
    monkeypatch.setattr(planning, "busy", lambda: load[0])
    plan, options = answered.lab.checked(RECIPE), answered.options()
    busy = planning.make(plan, options)
    assert answers.recall_plan(plan, options, Quiet()) == busy and "busy" in busy.hardware
    load[0] = False
    assert answers.recall_plan(plan, options, Quiet()) is None
    idle = planning.make(plan, options)
    load[0] = True
    assert answers.recall_plan(plan, options, Quiet()) == dataclasses.replace(idle, hardware=busy.hardware)


LOADED = """
import sys
from recipelang.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("loaded", *(name for name in ("torch", "matplotlib", "scipy", "sklearn") if name in sys.modules))
"""


def test_commands_about_what_is_stored_load_neither_torch_nor_what_draws(tmp_path: Path) -> None:
    (tmp_path / "r.rcp").write_text(
        "data digits\nmodel digits_resnet\ntrain for 1 steps\nprune 1 layers by magnitude\n"
        "measure top1, params\nexpect params < 0.99\n"
    )

    def loaded(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-c", LOADED, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        return done.stdout.splitlines()[-1]

    run = ("run", "r.rcp", "--out", "out", "--smoke")
    assert "torch" in loaded(*run)
    assert loaded(*run) == "loaded"
    assert loaded("report", "out") == "loaded"
    assert loaded("compare", "out", "out") == "loaded"
    assert "torch" in loaded("plan", "r.rcp", "--smoke")
    assert loaded("plan", "r.rcp", "--smoke") == "loaded"
    assert loaded("run", "r.rcp", "--smoke", "--dry-run") == "loaded"
