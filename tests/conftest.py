"""What all tests share: hypothesis without deadlines, and few threads, because machines differ and are shared."""

from __future__ import annotations

import os
import signal

from hypothesis import settings

# Before torch is imported anywhere: several test processes on one machine must not take all cores each.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# A shell starts what it puts in the background deaf to Ctrl-C, and children inherit that; some tests press it.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("recipelang", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("recipelang")
