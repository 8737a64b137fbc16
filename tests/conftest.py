"""What all tests share: hypothesis without deadlines, and few threads, because machines differ and are shared."""

from __future__ import annotations

import os

from hypothesis import settings

# Before torch is imported anywhere: several test processes on one machine must not take all cores each.
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("recipelang", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("recipelang")
