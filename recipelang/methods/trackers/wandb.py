"""`wandb(project="", folder="", networks=false)`."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from recipelang.catalogue import method, setting
from recipelang.files import expanded
from recipelang.kinds import FAILED, INTERRUPTED, Scalar, TrackedRun


@method("tracker", "wandb")
@dataclass(frozen=True)
class Wandb:
    """Weights & Biases, offline: files that `wandb sync` uploads when you want it to.

    What: a run for the recipe and one for each network and seed, together as a group. Configs are the statements of
        the recipe, variant, seed and values of sweeps; histories the curves of trainings while they run, and what every
        statement reached and took; summaries the measurements. The recipe and its reports are files of the recipe's
        run. Values are in base units: seconds, bytes, shares from 0 to 1.
    Needs: `pip install "recipelang[wandb]"`; no account, and no network: nothing is sent anywhere. Its reports of
        errors and its records of the machine, of git and of code are switched off.
    When it misleads: `wandb sync FOLDER/wandb/offline-run-…` uploads one run; give it all of them. A recipe that is
        continued after an interruption writes more files under the same run, for `wandb sync --append`.
    Source: https://docs.wandb.ai.
    """

    project: str = setting("", type="text", help="Name of the project; default that of the recipe.")
    folder: str = setting(
        "",
        type="text",
        hashed=False,
        help="Where the folder `wandb` with the files is; default the folder of recipe.yaml, or that you work in.",
    )
    networks: bool = setting(False, type="boolean", help="Whether the files of the networks are kept as well.")

    def require(self) -> None:
        """Refuse a machine without wandb.

        Raises:
            Refusal: RCP1027.
        """
        from recipelang.runtimes.installed import require_libraries

        require_libraries("tracking: wandb", ("wandb",), "wandb")

    def load(self) -> None:
        """Import wandb, with the settings that it reads when it is imported."""
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb  # noqa: F401

    def placed(self, folder: Path) -> Wandb:
        """This tracker, with a relative folder starting at another.

        Raises:
            Refusal: RCP1214: the folder is not a path.
        """
        return replace(self, folder=str((folder / expanded(self.folder)).resolve()))

    def begin(self, run: TrackedRun) -> _Session:
        """Begin the run, or continue an interrupted one in further files.

        Raises:
            Exception: of wandb: its files cannot be written.
        """
        folder = Path(self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        return _Session(self.project or run.recipe, folder, run)


class _Session:
    """Offline runs of one group, by the name of their network."""

    def __init__(self, project: str, folder: Path, run: TrackedRun) -> None:
        self._project, self._folder, self._run = project, folder, run
        self.token = run.token or secrets.token_hex(6)
        self._runs: dict[str, Any] = {"": self._begin("", {**run.params, **run.tags})}
        self.where = f"run `{run.name}` of the project `{project}`, offline in {_near(folder / 'wandb')}"
        self.unended = "`wandb sync` uploads what its files hold, without a summary"

    def metrics(self, network: str, points: Sequence[Scalar]) -> None:
        """Each axis of a curve is a number beside it: wandb's own steps may not go back."""
        run, rows = self._of(network), dict[tuple[str, int], dict[str, float]]()
        for point in points:
            rows.setdefault((_axis(point.name), point.step), {})[point.name] = point.value
        for (axis, step), values in rows.items():
            run.log({**values, axis: step})

    def network(
        self, network: str, params: Mapping[str, str], results: Mapping[str, float], tags: Mapping[str, str]
    ) -> None:
        run = self._of(network)
        run.config.update({**params, **tags}, allow_val_change=True)
        for name, value in results.items():
            run.summary[name] = value

    def file(self, path: Path, name: str, network: str = "") -> None:
        import shutil

        run = self._of(network)
        place = Path(run.dir) / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
        run.save(str(place), base_path=run.dir, policy="now")

    def finish(self, status: str) -> None:
        for run in self._runs.values():
            run.finish(exit_code=int(status in (FAILED, INTERRUPTED)))

    def _of(self, network: str) -> Any:
        if network not in self._runs:
            self._runs[network] = self._begin(network, {"network": network})
        return self._runs[network]

    def _begin(self, network: str, config: Mapping[str, str]) -> Any:
        import wandb

        settings = wandb.Settings(
            mode="offline",
            root_dir=str(self._folder),
            console="off",
            silent=True,
            disable_git=True,
            disable_code=True,
            save_code=False,
            x_disable_meta=True,
            x_disable_stats=True,
            x_save_requirements=False,
        )
        return wandb.init(
            project=self._project,
            group=self._run.name,
            job_type="network" if network else "recipe",
            name=f"{self._run.name} {network}".strip(),
            id=hashlib.sha256(f"{self.token} {network}".encode()).hexdigest()[:12],
            config=dict(config),
            settings=settings,
            reinit="create_new",
        )


def _near(folder: Path) -> Path:
    """A path as it is typed from the folder that one works in."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def _axis(name: str) -> str:
    """The number that a curve is drawn over: `train/step`, `train/epoch`; of the run's own numbers, `at`."""
    parts = name.split("/")
    return f"{parts[0]}/{'step' if parts[1:2] == ['step'] else 'at'}"
