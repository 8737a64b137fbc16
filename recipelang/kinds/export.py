"""What writes a network for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol


class ExportMethod(Protocol):
    """`export NAME`.

    Optional: `cannot_hold`, a mapping from a restriction (`quantized`) to why a network under it cannot be written in
    this form, and what to do instead; then `check` refuses it (RCP0716), before anything is trained.
    """

    def write(self, network: Any, folder: Path) -> tuple[Path, ...]:
        """Write the network into `folder`; the files written.

        Raises:
            Refusal: RCP07xx: the network cannot be written in this form.
        """
