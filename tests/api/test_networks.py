"""Networks of a program: what may be given, that it is not changed, and how a saved one is loaded."""

from __future__ import annotations

import copy
import importlib
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import recipelang
from recipelang import identity
from tests.api.program import Net, Shades

RECIPE = "prune 1 layer by imprint; measure params"


def ran(model: Any, recipe: str = RECIPE, **more: Any) -> recipelang.Result:
    return recipelang.run(recipe, model=model, **{"data": Shades(), "threads": 1, **more})


def state(module: nn.Module) -> dict[str, Any]:
    return {"mode": [m.training for m in module.modules()], **{k: v.clone() for k, v in module.state_dict().items()}}


def same(one: dict[str, Any], two: dict[str, Any]) -> bool:
    return one.keys() == two.keys() and all(
        torch.equal(one[k], two[k]) if isinstance(one[k], Tensor) else one[k] == two[k] for k in one
    )


class Lightning(nn.Module):
    """As Lightning's modules are: a network inside, steps of training beside it, and a trainer that is not there."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    @property
    def trainer(self) -> Any:
        raise RuntimeError("not attached to a trainer")

    def training_step(self, batch: Any, index: int) -> Tensor:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)  # type: ignore[no-any-return]


def hooked() -> nn.Module:
    module = Net()
    module.head.register_forward_hook(lambda layer, inputs, output: output * 2)
    return module


def compiled_in_place() -> nn.Module:
    module = Net()
    module.compile(backend="eager")
    return module


def with_lambda() -> nn.Module:
    module = Net()
    module.act = lambda x: torch.relu(x)  # type: ignore[assignment]
    return module


FORMS = {
    "training": lambda: Net().train(),
    "evaluation": lambda: Net().eval(),
    "half": lambda: Net().half(),
    "bfloat16": lambda: Net().bfloat16(),
    "double": lambda: Net().double(),
    "DataParallel": lambda: nn.DataParallel(Net()),
    "torch.compile": lambda: torch.compile(Net(), backend="eager"),
    "module.compile": compiled_in_place,
    "hooks": hooked,
    "lambda": with_lambda,
    "Lightning": Lightning,
    "class": lambda: Net,
    "function": lambda: lambda: Net(width=6),
}


@pytest.mark.parametrize("form", FORMS)
def test_any_form_of_network_runs_and_stays_as_it_was(form: str) -> None:
    given = FORMS[form]()
    before = state(given) if isinstance(given, nn.Module) else {}
    plan = recipelang.plan(RECIPE, model=given, data=Shades(), threads=1)
    assert not plan.problems and "1 layer" in str(plan.text())
    result = ran(given)
    params = {name: network.metrics["params"].value for name, network in result.networks.items()}
    assert params["main"] < params["healthy"]  # type: ignore[operator]
    loaded = result.networks["main"].load()
    assert loaded(torch.rand(2, 1, 8, 8)).shape == (2, 2) and loaded.classes == ("dark", "bright")
    if before:
        assert same(before, state(given)), "the network of the program has changed"


def test_the_answers_are_those_of_the_network(net: Net) -> None:
    images = torch.rand(3, 1, 8, 8)
    result = ran(net, "measure params")
    assert torch.allclose(result.load()(images), net.eval()(images), atol=1e-5)


def test_each_seed_builds_its_own_network_of_a_function() -> None:
    result = ran(Net, "seeds 0, 1\nmodel digits_resnet\nmeasure params")
    first, second = (result.networks["main"].load(seed=k) for k in (0, 1))
    images = torch.rand(2, 1, 8, 8)
    assert not torch.allclose(first(images), second(images))


def test_a_saved_network_needs_one_that_is_built_alike(net: Net, here: Path) -> None:
    folder = ran(net).folder
    again = recipelang.result(folder).networks["main"]
    assert again.folder is not None
    with pytest.raises(recipelang.RecipeError, match="RCP0922"):
        again.load()
    images = torch.rand(2, 1, 8, 8)
    expected = ran(net).load()(images)
    assert torch.allclose(recipelang.load(again.folder, model=Net())(images), expected, atol=1e-6)
    assert torch.allclose(again.load(model=Net)(images), expected, atol=1e-6)


class Negated(Net):
    def forward(self, x: Tensor) -> Tensor:
        return -super().forward(x)


@pytest.mark.parametrize(
    ("other", "code"), [(lambda: Net(width=5), "RCP0923"), (Negated, "RCP0923"), (lambda: 3, "RCP0712")]
)
def test_another_network_is_refused(net: Net, other: Any, code: str) -> None:
    folder = ran(net).folder / "main"
    with pytest.raises(recipelang.RecipeError) as refused:
        recipelang.load(folder, model=other)
    assert [one.code for one in refused.value.diagnostics] == [code]


def scripted() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would like everyone to stop
        return torch.jit.script(nn.Linear(2, 2))


@pytest.mark.parametrize(
    ("model", "code"),
    [
        (5, "RCP0712"),
        (torch.zeros(3), "RCP0712"),
        (scripted(), "RCP0712"),
        (nn.Linear(64, 2, device="meta"), "RCP0712"),
        (lambda: 1 / 0, "RCP0712"),
        (lambda: "net", "RCP0712"),
        (lambda needed: needed, "RCP0712"),
        (nn.Linear(7, 2), "RCP0713"),
        ("resnt20", "RCP0202"),
    ],
    ids=lambda value: re.sub(r" at 0x[0-9a-f]+", "", str(value)),
)
def test_what_is_no_network_is_refused(model: Any, code: str) -> None:
    with pytest.raises(recipelang.RecipeError) as refused:
        ran(model)
    assert code in [one.code for one in refused.value.diagnostics], str(refused.value)


def test_weights_that_nothing_draws_are_not_drawn_again(net: Net) -> None:
    from recipelang.surgery.given_network import drawn_again

    twin = copy.deepcopy(net)
    with pytest.raises(recipelang.RecipeError.__mro__[1], match="`scale`"):
        twin.scale = nn.Parameter(torch.ones(2))
        drawn_again(twin)
    drawn_again(twin := copy.deepcopy(net))
    assert not torch.equal(twin.head.weight, net.head.weight)


# what a network is ------------------------------------------------------------------------------

CLASS = """
import torch
from torch import nn
{before}
class Net(nn.Module):
    {doc}
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)
        {inside}
    def forward(self, x):
        return {answer}
"""


def digest(before: str = "", doc: str = "", inside: str = "pass", answer: str = "self.layer(x)") -> str:
    """Of a class that was typed into a console: there is no source text of it."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(CLASS.format(before=before, doc=doc, inside=inside, answer=answer), names)
    torch.manual_seed(0)
    return identity.of_network(names["Net"]()).digest


def test_comments_and_docstrings_change_nothing() -> None:
    assert digest() == digest(doc='"""A network."""') == digest(before="# a comment\n\n")


@pytest.mark.parametrize(
    "changed",
    [
        {"answer": "self.layer(x) * 2"},
        {"answer": "self.layer(x).relu()"},
        {"inside": "self.slope = 0.1"},
        {"inside": "self.extra = torch.ones(2)"},
        {"before": "def act(x): return x", "answer": "act(self.layer(x))"},
        {"before": "K = 1", "answer": "self.layer(x) * K"},
        {"inside": "self.layer.weight.requires_grad_(False)"},
        {"inside": "nn.init.ones_(self.layer.weight)"},
        {"inside": "self.layer.register_forward_hook(lambda m, i, o: o + 1)"},
        {"inside": "self.act = lambda x: x"},
    ],
    ids=lambda value: re.sub(r" at 0x[0-9a-f]+", "", str(value)),
)
def test_code_and_state_change_it(changed: dict[str, str]) -> None:
    assert digest(**changed) != digest() and digest(**changed) == digest(**changed)


def test_what_code_uses_changes_it() -> None:
    how = {"answer": "act(self.layer(x))"}
    one, two = (digest(before=f"def act(x): return x + {k}", **how) for k in (1, 2))
    assert one != two
    assert digest(before="unused = 1") == digest(before="unused = 2")


def test_what_nobody_can_look_into_is_never_known_again(net: Net) -> None:
    import threading

    net.lock = threading.Lock()  # type: ignore[assignment]
    assert identity.of_network(net).unknown == ("lock",)
    assert identity.of_network(net) != identity.of_network(net)


def test_what_is_nested_too_deeply_is_never_known_again(net: Net) -> None:
    chain: list[object] = []
    for _ in range(20_000):
        chain = [chain]
    net.chain = chain  # type: ignore[assignment]
    assert identity.of_network(net).unknown == ("Net",)
    assert identity.of_network(net) != identity.of_network(net)
    assert identity.of_data(net).unknown == ("Net",)


def test_packages_that_pip_put_into_a_folder_are_no_code_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`pip install --target libs`, and a module of the user in the same folder."""
    (tmp_path / "delivered_one").mkdir()
    (tmp_path / "delivered_one/__init__.py").write_text("def f(x): return x\n")
    (tmp_path / "delivered_one/deep.py").write_text("def g(x): return x\n")
    (tmp_path / "delivered_two.py").write_text("def f(x): return x\n")
    (tmp_path / "written_here.py").write_text("def f(x): return x\n")
    (tmp_path / "one-1.0.dist-info").mkdir()
    (tmp_path / "one-1.0.dist-info/RECORD").write_text("delivered_one/__init__.py,,\ndelivered_two.py,,\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    names = ("delivered_one", "delivered_one.deep", "delivered_two", "written_here")
    modules = [importlib.import_module(name) for name in names]
    assert len(modules) == 4
    assert [identity._installed(name) for name in names] == [True, True, True, False]


PROGRAM = """
import torch, recipelang
from tests.api.program import Net, Shades
torch.manual_seed(0)
recipelang.run({recipe!r}, model=Net(), data=Shades(), threads=1, progress=True)
"""


def test_another_process_finds_the_steps(net: Net) -> None:
    root = Path(__file__).parents[2]
    code = PROGRAM.format(recipe=RECIPE)
    for found in ("0 from the store", "nothing has changed"):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=_paths(root))
        assert done.returncode == 0 and found in done.stderr, done.stderr


def _paths(root: Path) -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}


def test_nothing_is_printed_or_warned_of(net: Net, capfd: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ran(net)
    assert capfd.readouterr() == ("", "")
