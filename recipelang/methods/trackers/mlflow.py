"""`mlflow(uri="", experiment="", networks=false)`."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from recipelang.catalogue import method, setting
from recipelang.errors import SettingError
from recipelang.kinds import FINISHED, INTERRUPTED, Scalar, TrackedRun

#: what a tracking server takes in one call, and as one value
MOST_METRICS, MOST_PARAMS, LONGEST_PARAM, LONGEST_TAG, LONGEST_KEY = 1000, 100, 6000, 5000, 250
SCHEMES = ("sqlite", "postgresql", "mysql", "mssql", "http", "https", "file", "databricks", "uc")
_SQLITE = "sqlite:///"


@method("tracker", "mlflow")
@dataclass(frozen=True)
class MLflow:
    """MLflow: a run for the recipe, and in it a run for each network and seed.

    What: parameters are the statements of the recipe, the variant, the seed and the values of a sweep; metrics the
        curves of trainings while they run, what every statement reached and took, and the measurements of every
        network; tags the machine, the versions, the digest of the recipe and the names of states; artifacts the recipe
        and its reports. Values are in base units: seconds, bytes, shares from 0 to 1.
    Needs: `pip install "recipelang[mlflow]"`. Its telemetry is switched off, unless `MLFLOW_DISABLE_TELEMETRY` says
        otherwise.
    When it misleads: a name may hold letters, digits and `_-. /:` only, so `latency(batch=64)` becomes `latency
        batch=64` without its signs. In `mlflow ui`, nested runs are opened by the arrow before the name of a run.
    Source: https://mlflow.org/docs/latest/ml/tracking.
    """

    uri: str = setting(
        "",
        type="text",
        hashed=False,
        help="A database, as sqlite:///runs.db, or a server; default $MLFLOW_TRACKING_URI, else sqlite:///mlflow.db.",
    )
    experiment: str = setting("", type="text", help="Name of the experiment; default that of the recipe.")
    networks: bool = setting(False, type="boolean", help="Whether the files of the networks are artifacts as well.")

    def __post_init__(self) -> None:
        scheme = self.uri.partition(":")[0].partition("+")[0]
        if self.uri and (":" not in self.uri or scheme not in SCHEMES):
            message = f"`{self.uri}` is not a place of MLflow"
            raise SettingError("uri", message, 'write `"sqlite:///runs.db"` or `"http://localhost:5000"`')

    def require(self) -> None:
        """Refuse a machine without MLflow.

        Raises:
            Refusal: RCP1027.
        """
        from recipelang.runtimes.installed import require_libraries

        require_libraries("tracking: mlflow", ("mlflow", "sqlalchemy", "alembic"), "mlflow")

    def load(self) -> None:
        """Import MLflow, and what it needs for a database."""
        _library()
        if self.uri.startswith(_SQLITE):
            import mlflow.store.tracking.sqlalchemy_store  # noqa: F401

    def placed(self, folder: Path) -> MLflow:
        """This tracker, with a relative database starting at a folder."""
        uri = self.uri or os.environ.get("MLFLOW_TRACKING_URI", "") or f"{_SQLITE}mlflow.db"
        if not uri.startswith(_SQLITE):
            return replace(self, uri=uri)
        return replace(self, uri=f"{_SQLITE}{(folder / Path(uri.removeprefix(_SQLITE))).resolve()}")

    def begin(self, run: TrackedRun) -> _Session:
        """Begin the run, or continue an interrupted one.

        Raises:
            Exception: of MLflow: it cannot be reached, or is configured wrongly.
        """
        if self.uri.startswith(_SQLITE):
            Path(self.uri.removeprefix(_SQLITE)).parent.mkdir(parents=True, exist_ok=True)
        return _Session(_library().MlflowClient(self.uri), self, run)


class _Session:
    """A run of MLflow with its nested runs, by the name of their network."""

    def __init__(self, client: Any, tracker: MLflow, run: TrackedRun) -> None:
        self._client, self._name = client, run.name
        self._ids = self._continued(run.token) or {}
        if not self._ids:
            self._experiment = self._experiment_id(tracker, run)
            self._ids[""] = self._begin(run.name, {})
            self._params("", run.params)
            self._tags("", run.tags)
        self.token = self._ids[""]
        self.where = f"run `{run.name}` of the experiment `{tracker.experiment or run.recipe}` in {_shown(tracker.uri)}"
        ending = f'mlflow.MlflowClient("{_shown(tracker.uri)}").set_terminated("{self.token}", "FAILED")'
        self.unended = f"it stays RUNNING, until Python ends it by `{ending}`"

    def metrics(self, network: str, points: Sequence[Scalar]) -> None:
        from mlflow.entities import Metric

        run = self._id(network)
        found = [Metric(safe(p.name), p.value, int(1000 * p.time), p.step) for p in points]
        for start in range(0, len(found), MOST_METRICS):
            self._client.log_batch(run, metrics=found[start : start + MOST_METRICS])

    def network(
        self, network: str, params: Mapping[str, str], results: Mapping[str, float], tags: Mapping[str, str]
    ) -> None:
        now = time.time()
        self._params(network, params)
        self.metrics(network, [Scalar(name, value, 0, now) for name, value in results.items()])
        self._tags(network, tags)
        self._client.set_terminated(self._id(network), "FAILED" if "error" in tags else "FINISHED")

    def file(self, path: Path, name: str, network: str = "") -> None:
        folder = name.rpartition("/")[0]
        self._client.log_artifact(self._id(network), str(path), folder or None)

    def finish(self, status: str) -> None:
        ended = {FINISHED: "FINISHED", INTERRUPTED: "KILLED"}.get(status, "FAILED")
        for network, run in self._ids.items():
            if network == "" or status != FINISHED:
                if self._client.get_run(run).info.status == "RUNNING":
                    self._client.set_terminated(run, ended)
            elif self._client.get_run(run).info.status == "RUNNING":  # steps that several networks share
                self._client.set_terminated(run, "FINISHED")

    def _continued(self, token: str) -> dict[str, str] | None:
        """The run of an interrupted attempt and its nested runs, running again; None where it is gone."""
        from mlflow.exceptions import MlflowException

        if not token:
            return None
        try:
            found = self._client.get_run(token)
        except MlflowException:
            return None
        if found.info.lifecycle_stage != "active":
            return None
        self._experiment = found.info.experiment_id
        nested = self._client.search_runs(
            [self._experiment], f"tags.`mlflow.parentRunId` = '{token}'", max_results=1000
        )
        ids = {"": token} | {one.data.tags["recipelang.network"]: one.info.run_id for one in nested}
        for run in ids.values():
            self._client.update_run(run, status="RUNNING")
        return ids

    def _experiment_id(self, tracker: MLflow, run: TrackedRun) -> str:
        name = tracker.experiment or run.recipe
        found = self._client.get_experiment_by_name(name)
        if found is not None and found.lifecycle_stage == "active":
            return str(found.experiment_id)
        if not tracker.uri.startswith(_SQLITE):
            return str(self._client.create_experiment(name))
        # MLflow's own default starts at the folder of whichever process comes first.
        files = Path(tracker.uri.removeprefix(_SQLITE)).parent / "mlruns" / re.sub(r"[^\w.-]+", "_", name)
        return str(self._client.create_experiment(name, artifact_location=files.as_uri()))

    def _id(self, network: str) -> str:
        if network not in self._ids:
            tags = {"mlflow.parentRunId": self._ids[""], "recipelang.network": network}
            self._ids[network] = self._begin(network, tags)
        return self._ids[network]

    def _begin(self, name: str, tags: Mapping[str, str]) -> str:
        return str(self._client.create_run(self._experiment, run_name=name, tags=dict(tags)).info.run_id)

    def _params(self, network: str, params: Mapping[str, str]) -> None:
        from mlflow.entities import Param

        found = [Param(safe(name), value[:LONGEST_PARAM]) for name, value in params.items()]
        self._batches(network, "params", found)

    def _tags(self, network: str, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        self._batches(network, "tags", [RunTag(safe(name), value[:LONGEST_TAG]) for name, value in tags.items()])

    def _batches(self, network: str, what: str, found: Sequence[Any]) -> None:
        for start in range(0, len(found), MOST_PARAMS):
            self._client.log_batch(self._id(network), **{what: found[start : start + MOST_PARAMS]})


def safe(name: str) -> str:
    """A name as MLflow takes it: other signs become spaces.

    >>> safe("latency(batch=64)")
    'latency batch 64'
    """
    text = re.sub(r"[^\w\-. /:]+", " ", name, flags=re.ASCII)
    text = "/".join(part.strip(" .") or "_" for part in text.split("/"))
    return re.sub(r" +", " ", text)[:LONGEST_KEY]


def _shown(uri: str) -> str:
    """A place without name and password; a database as it is typed from the folder that one works in."""
    place, here = Path(uri.removeprefix(_SQLITE)), Path.cwd()
    if uri.startswith(_SQLITE):
        return f"{_SQLITE}{place.relative_to(here) if place.is_relative_to(here) else place}"
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _library() -> Any:
    """MLflow. Its messages on the tables of a new database are for those who keep a server."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    first = "mlflow" not in sys.modules
    import mlflow

    if first:  # else its level is somebody's choice
        logging.getLogger("mlflow").setLevel(logging.WARNING)
    return mlflow
