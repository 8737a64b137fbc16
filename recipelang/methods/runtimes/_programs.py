"""What runtimes share that execute ONNX programs on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from recipelang.kinds import Finding


@dataclass(frozen=True)
class Programs:
    """A runtime of ONNX programs: its name is that of its library, and of the extra that installs it.

    Attributes:
        used_by: what needs it, for `recipe doctor`.
    """

    name: ClassVar[str]
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    precisions: ClassVar[tuple[str, ...]] = ("float32",)
    compiles: ClassVar[bool] = False
    brief: ClassVar[bool] = False
    used_by: ClassVar[str]

    def require(self) -> None:
        """Refuse a machine without its library or those of the exporter.

        Raises:
            Refusal: RCP1027.
        """
        from recipelang.runtimes.installed import programs_in, require_libraries

        require_libraries(f"runtime={self.name}", programs_in(self.name), self.name)

    def versions(self, network: Any) -> Mapping[str, Any]:
        """Versions of its library and of what makes its programs."""
        from recipelang.runtimes.installed import programs_in
        from recipelang.runtimes.onnx_program import versions

        self.require()
        return versions(programs_in(self.name))

    def findings(self) -> tuple[Finding, ...]:
        """Whether it is installed."""
        from recipelang.runtimes.installed import libraries_found, programs_in

        return (libraries_found(self.name, programs_in(self.name), self.name, self.used_by),)
