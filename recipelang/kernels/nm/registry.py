"""Every kernel for 2:4 weights, by name. `dense` is always a candidate and is the baseline for the others."""

from __future__ import annotations

from recipelang.kernels.nm.cusparselt import CuSparseLt
from recipelang.kernels.nm.dense import Dense
from recipelang.kernels.nm.mma_sp import MmaSp
from recipelang.kernels.nm.portable import Portable
from recipelang.kernels.nm.problem import Kernel
from recipelang.kernels.nm.unpacked import Unpacked

#: The kernels that a chooser tries.
CANDIDATES: tuple[Kernel, ...] = (Dense(), CuSparseLt(), MmaSp(), Portable())
#: The kernels that a layer may run.
KERNELS: dict[str, Kernel] = {kernel.name: kernel for kernel in (*CANDIDATES, Unpacked())}
