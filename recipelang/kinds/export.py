"""What writes a network for other tools, or what it sees for readers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from recipelang.kinds.data import Dataset
from recipelang.kinds.task import Task


@dataclass(frozen=True)
class Beside:
    """What an export may look at beside the network.

    Attributes:
        healthy: the network of the recipe before anything was removed; the same one where nothing was.
        data: the recipe's data set, as the network sees it: its labels are the network's outputs.
        task: of the recipe.
        recovered: the network before its hardware restriction; None where it has none.
    """

    healthy: Any
    data: Dataset
    task: Task
    recovered: Any = None


class ExportMethod(Protocol):
    """`export NAME`.

    Optional:
        `cannot_hold`, a mapping from a restriction (`quantized`) to why a network under it cannot be written in this
        form, and what to do instead; then `check` refuses it (RCP0716), before anything is trained.
        `tasks`, the names of the tasks that it has a meaning in; without it, all.
        `leaves_out = True`: a network that it refuses is left out, and the report names it and the reason; the refusal
        ends a recipe only where no network is left.
        `looks_at_data = True`: it writes what the network sees, and is an `ObservingExport`.
        `require_network(network)`, which refuses a network that cannot be written, as far as its architecture tells;
        `plan` calls it.
        `remark(network)`: what the report should say of what was written; "" where nothing.
    """

    def write(self, network: Any, folder: Path) -> tuple[Path, ...]:
        """Write the network into `folder`; the files written.

        Raises:
            Refusal: RCP07xx: the network cannot be written in this form.
        """


class ObservingExport(Protocol):
    """`export NAME` of a method with `looks_at_data`; else as `ExportMethod`."""

    def write(self, network: Any, folder: Path, beside: Beside) -> tuple[Path, ...]:
        """Write what the network sees into `folder`; the files written.

        Raises:
            Refusal: RCP07xx: the network cannot be written in this form.
        """
