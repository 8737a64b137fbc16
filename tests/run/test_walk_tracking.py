"""What trackers are told of whole runs: of curves, steps, networks; once, whatever the store holds or interrupts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from recipelang.catalogue import method, setting
from recipelang.commands.results import finish
from recipelang.errors import StepFailed
from recipelang.kinds import Scalar, TrackedRun
from recipelang.run import answers, delivery, engine, memory

RECIPE = """data digits
model digits_resnet
train for 2 epochs with sgd(lr=0.01)
keep as before
variant a {
  prune 1 layer by random
  distill from healthy for 1 epoch with 0.5*kd + 0.5*task, sgd(lr=1e-2)
}
variant b {
  finetune for 1 epoch with sgd(lr=1e-3)
  finetune for 1 epoch with sgd(lr=1e-3)
}
measure top1, params
expect params < 1
"""


@method("tracker", "listening")
@dataclass(frozen=True)
class Listening:
    """Remembers what it is told, in the list of its name."""

    networks: ClassVar[bool] = True
    heard: ClassVar[dict[str, list[Any]]] = {}

    name_of: str = setting("", type="text", help="Of the list.")
    fails: str = setting("", type="text", help="What raises an exception.")

    def require(self) -> None: ...

    def load(self) -> None: ...

    def placed(self, folder: Path) -> Listening:
        return self

    def begin(self, run: TrackedRun) -> _Session:
        return _Session(self.heard.setdefault(self.name_of, []), self.fails, run)


class _Session:
    where, unended = "in memory", ""

    def __init__(self, heard: list[Any], fails: str, run: TrackedRun) -> None:
        self.heard, self.fails, self.token = heard, fails, run.token or f"token {len(heard)}"
        self._add("begin", run)

    def metrics(self, network: str, points: Sequence[Scalar]) -> None:
        for point in points:
            self._add("point", network, point.name, point.step, point.value)

    def network(
        self, network: str, params: Mapping[str, str], results: Mapping[str, float], tags: Mapping[str, str]
    ) -> None:
        self._add("network", network, params, results, tags)

    def file(self, path: Path, name: str, network: str = "") -> None:
        self._add("file", network, name, path.read_bytes())

    def finish(self, status: str) -> None:
        self._add("finish", status)

    def _add(self, what: str, *told: Any) -> None:
        if self.fails == what:
            raise RuntimeError(f"no {what}")
        self.heard.append((what, *told))


def heard(name: str, what: str) -> list[tuple[Any, ...]]:
    return [one[1:] for one in Listening.heard[name] if one[0] == what]


def curves(name: str) -> dict[tuple[str, str], list[tuple[int, float]]]:
    found: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for network, curve, step, value in heard(name, "point"):
        found.setdefault((network, curve), []).append((step, value))
    for curve_, points in found.items():
        steps = [step for step, _ in points]
        assert steps == sorted(set(steps)), curve_
    return found


def run(lab: Any, name: str, text: str = RECIPE, *, recalled: bool = False, **asked: Any) -> Any:
    """Run, write the reports, and tell both to a tracker; the result."""
    fails, said = asked.pop("fails", ""), asked.pop("said", None)
    plan = lab.checked(text, control=asked.pop("control", False))
    options = lab.options(tracking=(Listening(name, fails),), **asked)
    result = answers.recall(plan, options) if recalled else engine.execute(plan, options, said)
    assert result is not None
    finish(result, plan, outside=False)
    return result


def test_a_run_tells_curves_steps_networks_and_files(lab: Any) -> None:
    result = run(lab, "whole", control=True)
    (begun,) = heard("whole", "begin")
    told: TrackedRun = begun[0]
    assert (told.recipe, told.text, told.folder) == ("test", RECIPE, result.folder)
    assert told.params["03 train"] == "train for 2 epochs with sgd(lr=0.01)"
    assert told.params["05 b 02 finetune"].startswith("finetune for 1 epoch")
    assert told.tags["states"] == "before" and len(told.tags["recipe sha256"]) == 64 and told.tags["torch"]
    drawn = curves("whole")
    assert [step for step, _ in drawn["healthy", "train/step/loss"]] == [1, 2]  # a smoke run
    for one, other in zip(drawn["a", "distill/step/loss"], drawn["a", "distill/step/loss/task"], strict=True):
        kd = dict(drawn["a", "distill/step/loss/kd(T=4)"])[one[0]]
        assert one[1] == pytest.approx(other[1] + kd, rel=1e-4)
    steps = {s["verb"]: s for v in result.report["variants"] for r in v["runs"] for s in r["steps"]}
    history = steps["train"]["history"]
    assert drawn["healthy", "train/loss"] == [(row["epoch"], pytest.approx(row["loss"])) for row in history]
    # The second training by the same verb continues the curves of the first one.
    assert [step for step, _ in drawn["b", "finetune/step/loss"]] == [1, 2, 3, 4]
    assert [step for step, _ in drawn["b", "finetune/loss"]] == [1, 2]
    assert drawn["a", "prune/removed layers"] == [(1, 1.0)]
    rows = {v["name"]: v for v in result.report["variants"]}
    ended = {network: (params, results, tags) for network, params, results, tags in heard("whole", "network")}
    assert len(ended) == len(rows) and {"healthy", "a", "b"} <= set(ended)
    for network in ("healthy", "a", "b"):
        cell = rows[network]["metrics"]
        assert ended[network][1]["top1"] == cell["top1"]["value"]
        assert drawn["", f"params/{network}"] == [(0, cell["params"]["value"])]
        assert ended[network][0]["network"] == network
    controls = [network for network in ended if ended[network][2]["kind"] == "control"]
    assert {one for one, _ in drawn} - {""} == set(ended) and controls
    assert drawn["", "expectations/missed"] == [(0, 1.0)]  # b removes nothing
    files = {(network, name): content for network, name, content in heard("whole", "file")}
    assert files["", "recipe.rcp"].decode() == RECIPE
    assert {("", "report.html"), ("", "report.md"), ("", "report.json")} <= set(files)
    assert files["a", "network/model.safetensors"] == (result.folder / "a" / "model.safetensors").read_bytes()
    assert heard("whole", "finish") == [("finished",)] and Listening.heard["whole"][-1][0] == "finish"
    assert result.report["warnings"] == [] or not any("tracking" in one for one in result.report["warnings"])


def test_a_run_whose_steps_are_stored_tells_the_same_but_for_what_only_a_training_knows(lab: Any) -> None:
    run(lab, "first", seeds=None) if "whole" not in Listening.heard else None
    run(lab, "stored")
    assert not any("/step/" in name for _, name in curves("stored"))
    run(lab, "recalled", recalled=True)
    stored, again = curves("stored"), curves("recalled")
    assert {key: values for key, values in stored.items() if "seconds" not in key[1]} == {
        key: values for key, values in again.items() if "seconds" not in key[1]
    }
    assert [one[0] for one in heard("recalled", "network")] == [one[0] for one in heard("stored", "network")]
    assert heard("recalled", "finish") == [("finished",)]


class _CtrlC:
    """A progress that presses Ctrl-C when a training has told enough of itself."""

    def __init__(self, after: int) -> None:
        self.left = after

    def start(self, what: str, total: int | None = None) -> None: ...

    def advance(self, parts: int = 1, note: str = "") -> None:
        self.left -= bool(note)
        if self.left == 0:
            raise KeyboardInterrupt

    def stop(self) -> None: ...

    def say(self, line: str) -> None: ...


def test_a_run_that_is_interrupted_goes_on_under_its_token_and_tells_nothing_twice(apart: Any) -> None:
    out = apart.folder / "out"
    with pytest.raises(KeyboardInterrupt):
        run(apart, "cut", out=out, said=_CtrlC(after=5))
    assert heard("cut", "finish") == [("interrupted",)]
    before = len(Listening.heard["cut"])
    run(apart, "cut", out=out)
    assert [begun[0].token for begun in heard("cut", "begin")] == ["", "token 0"]
    assert any(one[0] == "point" for one in Listening.heard["cut"][:before])
    drawn = curves("cut")  # which holds every curve to steps that rise
    assert [step for step, _ in drawn["healthy", "train/step/loss"]] == [1, 2]
    assert [step for step, _ in drawn["b", "finetune/step/loss"]] == [1, 2, 3, 4]
    assert json.loads((out / memory.FILE).read_text())["ended"] is True
    run(apart, "cut", out=out)  # the run has ended: this is another one
    assert [begun[0].token for begun in heard("cut", "begin")][-1] == ""


@pytest.mark.parametrize("fails", ["begin", "point", "network", "file", "finish"])
def test_a_tracker_that_fails_never_stops_a_run_and_the_record_says_so(lab: Any, fails: str) -> None:
    result = run(lab, f"failing {fails}", fails=fails)
    assert result.exit_code == 4  # of its `expect`
    told = [warning for warning in result.report["warnings"] if "tracking" in warning]
    ended = {"begin": [], "finish": ["tracking with listening: its run there was not ended"]}
    last = ["tracking with listening: its run there is marked as ended, and lacks what was not told"]
    assert told[0] == f"tracking with listening: RuntimeError: no {fails}; the run goes on without it"
    assert told[1:] == ended.get(fails, last)
    written = json.loads((result.folder / "report.json").read_text())
    assert written["warnings"].count(told[0]) == 1
    assert told[0] in (result.folder / "report.md").read_text()
    again = run(lab, "after", recalled=True)  # what failed is not part of the answer that is given again
    assert not any("tracking" in warning for warning in again.report["warnings"])


def test_a_tracker_that_hangs_costs_bounded_time(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    free = threading.Event()
    monkeypatch.setattr(delivery, "END_S", 0.2)
    monkeypatch.setattr(_Session, "metrics", lambda self, network, points: free.wait(60))
    short = delivery.Delivery.__init__
    monkeypatch.setattr(
        delivery.Delivery, "__init__", lambda self, *args, **limits: short(self, *args, **{**limits, "end_s": 0.2})
    )
    result = run(lab, "hanging")
    free.set()
    told = next(warning for warning in result.report["warnings"] if "tracking" in warning)
    assert "the run goes on without it" in told and "it did not" in told


def test_a_tracker_whose_library_is_absent_is_refused_before_any_work(
    apart: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from recipelang.methods.trackers.mlflow import MLflow

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(StepFailed) as failed:
        engine.execute(apart.checked(RECIPE), apart.options(tracking=(MLflow(),)))
    (said,) = failed.value.diagnostics
    assert said.code == "RCP1027" and 'recipelang[mlflow]"' in said.help


def test_networks_of_several_seeds_are_told_apart(lab: Any) -> None:
    text = "data digits\nmodel digits_resnet\nseeds 3, 4\ntrain for 1 epoch with sgd(lr=1e-3)\n"
    run(lab, "seeds", text + "prune 1 layer by random\nmeasure params\n")
    ended = {network: params for network, params, _, _ in heard("seeds", "network")}
    assert {"healthy, seed 3", "healthy, seed 4", "main, seed 3", "main, seed 4"} == set(ended)
    assert ended["main, seed 4"]["seed"] == "4"
    drawn = curves("seeds")
    assert {network for network, name in drawn if name == "train/step/loss"} == {
        "healthy, seed 3",
        "healthy, seed 4",
    }
