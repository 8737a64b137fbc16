"""Every tracker of the catalogue is told of one run, and what it kept is read back by its own library."""

from __future__ import annotations

import importlib.util
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from recipelang import catalogue
from recipelang.errors import SettingError
from recipelang.kinds import FINISHED, INTERRUPTED, Scalar, TrackedRun
from recipelang.methods.trackers.mlflow import LONGEST_PARAM, MLflow, safe
from recipelang.methods.trackers.tensorboard import TensorBoard
from recipelang.methods.trackers.wandb import Wandb
from recipelang.run.delivery import Delivery
from recipelang.run.memory import Memory

RECIPE = "data digits\nmodel digits_resnet\n"
#: a name with signs that a library may not take → the name that it has there
AWKWARD = "latency(batch=64)"


@dataclass
class Kept:
    """What a tracker kept of a network: curves as (step, value), results, parameters, names of files."""

    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    results: dict[str, float] = field(default_factory=dict)
    params: dict[str, str] = field(default_factory=dict)
    files: set[str] = field(default_factory=set)
    status: str = ""


def run_in(folder: Path, token: str = "") -> TrackedRun:
    out = folder / "runs" / "first-1"
    out.mkdir(parents=True, exist_ok=True)
    params, tags = {"01 data": "data digits", "device": "cpu"}, {"cpu": "a | b", "recipe sha256": "0" * 64}
    return TrackedRun("first", "first-1", RECIPE, out, params, tags, token)


def points(name: str, *values: float, start: int = 1) -> list[Scalar]:
    return [Scalar(name, value, step, 1.7e9 + step) for step, value in enumerate(values, start)]


def tell(tracker: Any, folder: Path) -> str:
    """A run in two attempts, the first of which is interrupted; the token."""
    report = folder / "report.md"
    report.write_text("# first\n")
    first = tracker.begin(run_in(folder))
    first.metrics("healthy", [*points("train/step/loss", 2.0, 1.5), *points("train/step/lr", 0.1, 0.1)])
    first.finish(INTERRUPTED)
    session = tracker.begin(run_in(folder, first.token))
    assert session.token == first.token and "first-1" in session.where
    session.metrics("healthy", points("train/step/loss", 1.25, start=3))
    session.metrics("gentle, seed 1", points("prune/removed layers", 2.0))
    session.metrics("", points(f"{AWKWARD}/healthy", 0.5, start=0))
    session.network("healthy", {"network": "healthy"}, {"top1": 0.75}, {"kind": "healthy"})
    params = {"network": "gentle", "seed": "1", "long": "x" * 10_000}
    session.network("gentle, seed 1", params, {"top1": 0.5, AWKWARD: 0.25}, {"kind": "variant"})
    session.file(report, "report.md")
    if tracker.networks:
        session.file(report, "network/report.md", "gentle, seed 1")
    session.finish(FINISHED)
    return str(session.token)


def mlflow_kept(tracker: MLflow, folder: Path, token: str) -> Mapping[str, Kept]:
    from mlflow import MlflowClient

    client = MlflowClient(tracker.uri)
    experiment = client.get_experiment_by_name("first")
    found = {}
    for run in client.search_runs([experiment.experiment_id]):
        parent = run.data.tags.get("mlflow.parentRunId")
        assert (parent or run.info.run_id) == token
        kept = found["" if parent is None else run.info.run_name] = Kept(status=run.info.status)
        for name in run.data.metrics:
            history = client.get_metric_history(run.info.run_id, name)
            kept.curves[name] = [(one.step, one.value) for one in history]
        kept.results, kept.params = dict(run.data.metrics), dict(run.data.params)
        for folder_of in (None, "network"):
            kept.files |= {one.path for one in client.list_artifacts(run.info.run_id, folder_of) if not one.is_dir}
    return found


def tensorboard_kept(tracker: TensorBoard, folder: Path, token: str) -> Mapping[str, Kept]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    found = {}
    for place in Path(token).iterdir():
        events = EventAccumulator(str(place)).Reload()
        name = {"recipe": "", "gentle,_seed_1": "gentle, seed 1"}.get(place.name, place.name)
        kept = found[name] = Kept(status="FINISHED")
        tags = events.Tags()["tensors"]
        for tag in (tag for tag in tags if not tag.endswith("text_summary")):
            kept.curves[tag] = [(one.step, one.tensor_proto.float_val[0]) for one in events.Tensors(tag)]
        kept.results = {
            n.removeprefix("results/"): c[-1][1] for n, c in kept.curves.items() if n.startswith("results/")
        }
        for tag in (tag for tag in tags if tag.endswith("text_summary")):
            text = events.Tensors(tag)[-1].tensor_proto.string_val[0].decode()
            if tag.startswith("settings"):
                kept.params = dict(row.strip("| ").split(" | ", 1) for row in text.splitlines()[2:])  # type: ignore[arg-type]
            kept.files.add({"report": "report.md", "recipe": "recipe.rcp"}.get(tag.partition("/")[0], tag))
        for content in events.summary_metadata.values():
            if content.plugin_data.plugin_name == "hparams":
                started = HParamsPluginData.FromString(content.plugin_data.content).session_start_info
                kept.params |= {name: value.string_value for name, value in started.hparams.items()}
    return found


def wandb_kept(tracker: Wandb, folder: Path, token: str) -> Mapping[str, Kept]:
    """By the records of wandb's own files: LevelDB's log format around its protocol buffers."""
    import json

    from wandb.proto.wandb_internal_pb2 import Record

    found: dict[str, Kept] = {}
    for file in sorted((folder / "wandb").glob("offline-run-*/*.wandb"), key=lambda one: one.parent.stat().st_mtime):
        deadline = time.monotonic() + 20
        records: list[Any] = []
        while not any(one.HasField("exit") for one in records) and time.monotonic() < deadline:
            time.sleep(0.05)  # wandb's own process writes the end of a file after `finish`
            records = [Record.FromString(raw) for raw in _log(file.read_bytes())]
        started = next(one.run for one in records if one.HasField("run"))
        kept = found.setdefault(started.display_name.removeprefix("first-1").strip(), Kept(status="FINISHED"))
        assert started.run_group == "first-1" and started.project == "first"
        updates = [u for r in records for part in (r.run.config, r.config) for u in part.update]
        kept.params |= {u.key or "/".join(u.nested_key): json.loads(u.value_json) for u in updates}
        for row in (one.history for one in records if one.HasField("history")):
            values = {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in row.item}
            for name, value in values.items():
                axis = values.get(f"{name.partition('/')[0]}/{'step' if '/step/' in name else 'at'}")
                if axis is not None:
                    kept.curves.setdefault(name, []).append((axis, value))
        for update in (u for one in records if one.HasField("summary") for u in one.summary.update):
            kept.results[update.key or "/".join(update.nested_key)] = json.loads(update.value_json)
        files = file.parent / "files"
        kept.files |= {one.relative_to(files).as_posix() for one in files.rglob("*") if one.is_file()}
    return found


def _log(raw: bytes) -> Iterator[bytes]:
    """The records of a LevelDB log after wandb's header of 7 bytes: blocks of 32 KiB, records in parts."""
    place, whole = 7, b""
    while place + 7 <= len(raw):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, length, part = struct.unpack("<IHB", raw[place : place + 7])
        if part == 0:
            place += left
            continue
        whole += raw[place + 7 : place + 7 + length]
        place += 7 + length
        if part in (1, 4):
            yield whole
            whole = b""


@dataclass(frozen=True)
class Case:
    """A tracker in a folder, what its names are read as, and how its library reads it."""

    make: Callable[[], Any]
    read: Callable[[Any, Path, str], Mapping[str, Kept]]
    library: str
    named: Callable[[str], str] = str


CASES = {
    "mlflow": Case(lambda: MLflow(uri="sqlite:///runs.db", networks=True), mlflow_kept, "mlflow", safe),
    "tensorboard": Case(TensorBoard, tensorboard_kept, "tensorboard"),
    "wandb": Case(lambda: Wandb(networks=True), wandb_kept, "wandb"),
}


def test_every_tracker_has_a_case() -> None:
    assert set(CASES) == set(catalogue.names("tracker"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("name", CASES)
def test_what_is_told_can_be_read_again(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[name]
    if importlib.util.find_spec(case.library) is None:
        pytest.skip(f"{case.library} is not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    tracker = case.make().placed(tmp_path)
    tracker.require()
    token = tell(tracker, tmp_path)
    found = case.read(tracker, tmp_path, token)
    assert set(found) == {"", "healthy", "gentle, seed 1"}
    healthy, gentle = found["healthy"], found["gentle, seed 1"]
    assert healthy.curves["train/step/loss"] == [(1, 2.0), (2, 1.5), (3, 1.25)]
    assert [value for _, value in healthy.curves["train/step/lr"]] == pytest.approx([0.1, 0.1])
    assert gentle.curves["prune/removed layers"] == [(1, 2.0)]
    assert found[""].curves[case.named(f"{AWKWARD}/healthy")] == [(0, 0.5)]
    assert healthy.results["top1"] == 0.75
    assert (gentle.results["top1"], gentle.results[case.named(AWKWARD)]) == (0.5, 0.25)
    assert gentle.params["seed"] == "1" and gentle.params["long"].startswith("x" * 100)
    assert found[""].params["01 data"] == "data digits"
    assert "report.md" in found[""].files
    assert not tracker.networks or "network/report.md" in gentle.files
    assert {kept.status for kept in found.values()} == {"FINISHED"}


def test_a_run_of_mlflow_that_was_deleted_is_begun_again(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    tracker = MLflow(uri="sqlite:///runs.db").placed(tmp_path)
    first = tracker.begin(run_in(tmp_path))
    client = mlflow.MlflowClient(tracker.uri)
    client.delete_run(first.token)
    again = tracker.begin(run_in(tmp_path, first.token))
    assert again.token != first.token
    assert tracker.begin(run_in(tmp_path, "0" * 32)).token not in (first.token, again.token, "0" * 32)
    again.metrics("main", points("train/loss", 1.0))
    again.finish(INTERRUPTED)
    assert client.get_run(again.token).info.status == "KILLED"
    experiment = client.get_experiment_by_name("first")
    assert experiment.artifact_location == (tmp_path / "mlruns" / "first").as_uri()
    assert client.get_run(again.token).data.tags["recipe sha256"] == "0" * 64


def test_a_run_of_mlflow_whose_database_went_away_does_not_stay_running(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow")
    tracker = MLflow(uri="sqlite:///runs.db").placed(tmp_path)
    told = Delivery("mlflow", "mlflow", tracker, run_in(tmp_path), Memory(tmp_path, "same"))
    told.points("main", points("train/loss", 1.0))
    told.wait()
    (tmp_path / "runs.db").rename(tmp_path / "away")
    mlflow.MlflowClient(tracker.uri)._tracking_client.store.engine.dispose()
    (tmp_path / "runs.db").mkdir()
    told.points("main", points("train/loss", 0.5, start=2))
    told.wait()
    said = told.close("finished", 20)
    assert told.trouble and "RUNNING" in said
    (tmp_path / "runs.db").rmdir()
    (tmp_path / "away").rename(tmp_path / "runs.db")
    client = mlflow.MlflowClient(tracker.uri)
    token = Memory(tmp_path, "same").token("mlflow")
    assert client.get_run(token).info.status == "RUNNING"
    eval(said.split("`")[1], {"mlflow": mlflow})  # what the message says
    assert client.get_run(token).info.status == "FAILED"
    client.update_run(token, status="RUNNING")
    assert "is marked as ended" in told.close("finished", 20)
    runs = client.search_runs([client.get_run(token).info.experiment_id])
    assert {run.info.status for run in runs} == {"FAILED"} and len(runs) == 2


def test_runs_in_one_folder_of_tensorboard_do_not_mix(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    tracker = TensorBoard(folder="events").placed(tmp_path)
    places = [Path(tracker.begin(run_in(tmp_path)).token) for _ in range(2)]
    assert places == [tmp_path / "events" / "first-1", tmp_path / "events" / "first-1-2"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [(AWKWARD, "latency batch 64"), ("a/b(c)/d", "a/b c/d"), ("loss/kd(T=4)", "loss/kd T 4"), ("μs", "s"), ("(", "_")],
)
def test_names_as_mlflow_takes_them(name: str, shown: str) -> None:
    assert safe(name) == shown
    if importlib.util.find_spec("mlflow"):
        from mlflow.utils.validation import _validate_metric_name

        _validate_metric_name(safe(name))


def test_where_mlflow_keeps_its_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert MLflow().placed(tmp_path).uri == f"sqlite:///{tmp_path}/mlflow.db"
    assert MLflow(uri="sqlite:////data/runs.db").placed(tmp_path).uri == "sqlite:////data/runs.db"
    assert MLflow(uri="http://localhost:5000").placed(tmp_path).uri == "http://localhost:5000"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    assert MLflow().placed(tmp_path).uri == "http://tracking:5000"
    for wrong in ("runs.db", "ftp://there", "runs"):
        with pytest.raises(SettingError):
            MLflow(uri=wrong)
    assert LONGEST_PARAM <= 6000
