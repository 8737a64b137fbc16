"""Folders of helpers that the tests of quantizers import."""

from __future__ import annotations

import sys
from pathlib import Path

for room in ("quantizers", "stages", "training"):  # `few`, `learners`; `contexts`; `killing`
    sys.path.insert(0, str(Path(__file__).parent.parent / room))
