"""What a stage is given: the network of its lane, its data, and functions that judge conditions and read metrics."""

from __future__ import annotations

from pathlib import Path

from recipelang.budgets.conditions import judge
from recipelang.budgets.verdict import Verdict
from recipelang.errors import Refusal
from recipelang.kinds import Dataset, Progress, Task
from recipelang.plan import Condition, Operation
from recipelang.run import keys
from recipelang.run.evaluate import Readings
from recipelang.run.lanes import Lane
from recipelang.run.options import Options
from recipelang.stages.context import Context
from recipelang.surgery.network import Network


def context_of(
    operation: Operation,
    lane: Lane,
    data: Dataset,
    folder: Path,
    readings: Readings,
    options: Options,
    progress: Progress,
    task: Task,
) -> Context:
    """The context of a stage.

    Args:
        operation: what the stage does.
        lane: where it does it; it has a network.
        data: as that network sees it.
        folder: where the stage may keep what it has done so far.
        readings, options, progress, task: of the run.
    """

    def judged(condition: Condition, network: Network, surely: bool) -> Verdict:
        read = lambda reading: readings.value(reading, lane, network)  # noqa: E731
        return judge(condition, read, "surely" if surely else "likely")

    def state(name: str) -> Network:
        found = lane.state(name)
        if found is None:
            raise Refusal("RCP0908", f"there is no state `{name}` here", "`keep as NAME` keeps one")
        return readings.network(found)

    assert lane.current  # the caller made sure
    return Context(
        network=readings.network(lane.current),
        data=data,
        task=task,
        seed=keys.seed_of(operation, lane),
        device=options.device,
        threads=options.threads or 1,
        folder=folder,
        state=state,
        judge=judged,
        read=lambda reading, network: readings.value(reading, lane, network).value,
        glance=lambda reading, network: readings.value(reading, lane, network, briefly=True),
        progress=progress,
        smoke=options.smoke,
    )
