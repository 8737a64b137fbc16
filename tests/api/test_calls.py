"""`check`, `plan`, `run` and `result`: arguments, errors, and the process afterwards."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch

import recipelang
from tests.api.program import Net, Shades

RECIPE = "prune 1 layer by imprint; measure params"


def refused(*arguments: Any, call: Any = recipelang.check, **named: Any) -> recipelang.RecipeError:
    with pytest.raises(recipelang.RecipeError) as caught:
        call(*arguments, **named)
    return caught.value


def codes(error: recipelang.RecipeError) -> list[str]:
    return [one.code for one in error.diagnostics]


def test_importing_loads_nothing_heavy() -> None:
    code = "import sys, recipelang; print(sorted({'torch', 'click', 'numpy', 'yaml', 'IPython'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


def test_checking_a_text_loads_no_torch() -> None:
    code = "import sys, recipelang; recipelang.check('prune 1 layer by imprint'); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_functions_stay_functions_after_the_rooms_of_their_names_are_loaded() -> None:
    code = (
        "import recipelang, recipelang.run.options, recipelang.plan, recipelang.check;"
        "from recipelang.run import options;"
        "print(*map(callable, (recipelang.run, recipelang.plan, recipelang.check)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "True True True\n"


def test_what_is_offered_is_there() -> None:
    for name in recipelang.__all__:
        assert getattr(recipelang, name) and name in dir(recipelang)
    with pytest.raises(AttributeError, match="nothing_like_it"):
        recipelang.nothing_like_it  # type: ignore[attr-defined]  # noqa: B018


def test_a_right_recipe_says_what_it_does() -> None:
    found = recipelang.check(RECIPE)
    assert "prune 1 layer by imprint" in found.statements and "ok" in str(found)


def test_every_mistake_is_printed_with_its_line_and_a_caret() -> None:
    error = refused("prune layers by imprnt until flops<0.7\nmeasure top7")
    said = str(error)
    assert error.exit_code == 1 and len(error.diagnostics) == 2 and error.result is None
    assert "--> <recipe>:1:17" in said and "^^^^^^" in said and "did you mean `imprint`" in said and ":2:9" in said
    assert error._render_traceback_() == [said.strip()]


def test_a_file_is_a_path_and_its_folder_is_where_paths_start(here: Path) -> None:
    (here / "inner").mkdir()
    (here / "inner" / "tune.rcp").write_text("finetune for 1 epoch\n")
    (here / "inner" / "main.rcp").write_text('prune 1 layer by imprint\nuse "tune.rcp"\n')
    assert "finetune" in " ".join(recipelang.check(here / "inner" / "main.rcp").statements)
    assert codes(refused('prune 1 layer by imprint\nuse "tune.rcp"')) == ["RCP0211"]
    assert codes(refused(here / "nothing.rcp")) == ["RCP1201"]


@pytest.mark.parametrize(
    ("named", "code"),
    [
        ({"seeds": 3}, "RCP0921"),
        ({"seeds": [0, 0]}, "RCP0921"),
        ({"seeds": []}, "RCP0921"),
        ({"seeds": [0.5]}, "RCP0921"),
        ({"seeds": [-1]}, "RCP0921"),
        ({"sets": [1]}, "RCP0921"),
        ({"sets": {"lr": 0.1}}, "RCP0208"),
        ({"sets": {"lr": object()}}, "RCP1250"),
        ({"device": "gpu"}, "RCP0921"),
        ({"threads": 0}, "RCP0921"),
        ({"threads": True}, "RCP0921"),
        ({"smoke": "yes"}, "RCP0921"),
        ({"out": 5}, "RCP0921"),
        ({"store": ""}, "RCP0921"),
        ({"profile": "nowhere.yaml"}, "RCP1201"),
        ({"model": "resnet20(width=0)"}, "RCP0303"),
        ({"data": "digits digits"}, "RCP0405"),
    ],
    ids=lambda value: re.sub(r" at 0x[0-9a-f]+", "", str(value)),
)
def test_wrong_arguments_are_refused(named: dict[str, Any], code: str) -> None:
    error = refused(RECIPE, call=recipelang.run, **{"model": "digits_resnet", "data": "digits", **named})
    assert code in codes(error), str(error)


@pytest.mark.parametrize(("recipe", "code"), [(5, "RCP0921"), ("my.rcp", "RCP0921"), ("", "RCP1203")])
def test_wrong_recipes_are_refused(recipe: Any, code: str) -> None:
    assert codes(refused(recipe)) == [code]


def test_an_argument_stands_in_place_of_what_the_recipe_says(net: Net, shades: Shades) -> None:
    said = recipelang.check(f"model digits_resnet\ndata digits\n{RECIPE}", model=net, data=shades).statements
    assert said[0].startswith('model given("Net"') and said[1].startswith('data given("Shades"')


def test_names_of_a_recipe_take_variables(net: Net, shades: Shades) -> None:
    recipe = "model $student\ndata $photos\nmodel $old as teacher\nprune $count layers by imprint\nmeasure params"
    variables = {"student": net, "photos": shades, "old": Net(6), "count": 1, "unused": object()}
    result = recipelang.run(recipe.replace("measure", "distill from teacher for 1 epoch\nmeasure"), variables=variables)
    assert result.exit_code == 0 and 'let old = given("old"' in result.record["recipe"]["text"]
    assert result.load()(torch.zeros(1, 1, 8, 8)).shape == (1, 2)
    assert codes(refused(recipe, variables={**variables, "photos": object()})) == ["RCP1250"]


def test_a_failed_step_and_an_unmet_expectation_have_the_result(net: Net, shades: Shades) -> None:
    given = {"model": net, "data": shades, "call": recipelang.run, "threads": 1}
    error = refused(f"{RECIPE}\nexpect params < 0.1", **given)
    assert (error.exit_code, codes(error)) == (4, ["RCP0920"]) and "params < 0.1" in str(error)
    assert error.result.networks["main"].load() and error.result.report.is_file()
    error = refused("prune layers by imprint until params < 0.001", **given)
    assert error.exit_code == 3 and "^" in str(error)


def test_a_result_is_read_again_from_its_folder(net: Net, shades: Shades) -> None:
    made = recipelang.run(RECIPE, model=net, data=shades, threads=1)
    read = recipelang.result(made.folder)
    assert read.table() == made.table() and read.record == json.loads(json.dumps(made.record)) and read.exit_code == 0
    assert read.metrics == made.metrics and read.report == made.report and set(read.files) >= set(made.files)
    assert repr(made).endswith(str(made.folder)) and "params=" in repr(made.networks["main"])
    assert codes(refused("nowhere", call=recipelang.result))[0].startswith("RCP11")
    assert codes(refused(call=made.networks["healthy"].load)) == ["RCP0921"]
    assert codes(refused(call=made.networks["main"].load, seed=7)) == ["RCP0921"]


def test_the_process_is_as_before(net: Net, shades: Shades) -> None:
    torch.manual_seed(5)
    random.seed(5)
    numpy.random.seed(5)
    threads, filters = torch.get_num_threads(), list(warnings.filters)
    before = torch.get_rng_state(), random.getstate(), numpy.random.get_state()[1].tolist()  # type: ignore[union-attr]
    with torch.inference_mode():  # a program may call from anywhere
        recipelang.run("train for 1 epoch\nmeasure params", model=net, data=shades, threads=1)
        assert torch.is_inference_mode_enabled()
    after = torch.get_rng_state(), random.getstate(), numpy.random.get_state()[1].tolist()  # type: ignore[union-attr]
    assert torch.equal(before[0], after[0]) and before[1:] == after[1:]
    assert torch.get_num_threads() == threads and list(warnings.filters) == filters
    assert torch.get_default_dtype() is torch.float32


class Interrupted:
    """A progress during which the user presses Ctrl-C."""

    def __init__(self, at: str) -> None:
        self.at, self.lines = at, []  # type: str, list[str]

    def start(self, what: str, total: int | None = None) -> None: ...

    def advance(self, parts: int = 1, note: str = "") -> None: ...

    def stop(self) -> None: ...

    def say(self, line: str) -> None:
        self.lines.append(line)
        if self.at and self.at in line:
            raise KeyboardInterrupt


def test_after_an_interruption_the_same_call_continues(net: Net, shades: Shades) -> None:
    recipe = "train for 1 epoch\nprune 1 layer by imprint\nmeasure params"
    given: dict[str, Any] = {"model": net, "data": shades, "threads": 1}
    with pytest.raises(KeyboardInterrupt):
        recipelang.run(recipe, progress=Interrupted("train for 1 epoch"), **given)  # type: ignore[arg-type]
    again = Interrupted("")
    result = recipelang.run(recipe, progress=again, **given)  # type: ignore[arg-type]
    assert result.folder == Path("runs/oneliner-1"), "the folder that was left is taken up"
    (line,) = [line for line in again.lines if "train for 1 epoch" in line]
    assert "from the store" in line
