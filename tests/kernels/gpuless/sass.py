"""What a compiled kernel costs, read from its machine code by the disassembler that Triton brings along."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import triton
from gpuless.compile import Compiled

_TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
_INSTRUCTION = re.compile(r"^\s*/\*[0-9a-f]{4,}\*/\s+(?:\{\s*)?(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)\b(.*)$")
_LABEL = re.compile(r"^\s*(\.L_x?_?\w+):")


@dataclass(frozen=True)
class Statistics:
    """Counts of instructions are of warp-instructions as they stand in the code.

    Attributes:
        whole: opcode → count, the padding after the last exit left out.
        loop: the same of the hottest loop: among those that contain no other the one with most instructions that
            load from global memory or multiply matrices, of equal ones the longest; empty where there is none.
        registers: of each thread.
        stack_bytes: of each thread; more than 0 where registers were spilled.
        spills: loads and stores of local memory.
        shared_bytes: of each CTA, static and dynamic.
    """

    whole: Counter[str]
    loop: Counter[str]
    registers: int
    stack_bytes: int
    spills: int
    shared_bytes: int

    def count(self, prefix: str, loop: bool = False) -> int:
        """Instructions whose opcode starts so: `HMMA.SP`, `LDG.E.128`."""
        return sum(n for opcode, n in (self.loop if loop else self.whole).items() if opcode.startswith(prefix))


def statistics(compiled: Compiled) -> Statistics:
    """Disassemble a kernel and count."""
    return _statistics(compiled.cubin, compiled.shared_bytes)


def weight_bytes_per_instruction(compiled: Compiled, tile_bytes: int = 576, row_tiles: int = 1) -> float:
    """How many bytes of weight one warp-instruction of the hottest loop stands for; more is better.

    The tiles that a pass of the loop consumes are counted by its sparse matrix instructions, however often the
    compiler unrolled it.

    Args:
        tile_bytes: of one 16×32 tile of the weight with its metadata: 512 + 64 for 16-bit values, 256 + 64 for int8.
        row_tiles: how many tiles of eight rows a warp multiplies with each tile of the weight.

    Raises:
        ValueError: the kernel has no loop with a sparse matrix instruction.
    """
    found = statistics(compiled)
    products = found.count("HMMA.SP.16832", loop=True)
    if not products:
        raise ValueError(f"`{compiled.name}` has no loop with a sparse matrix instruction")
    return products / row_tiles * tile_bytes / sum(found.loop.values())


@lru_cache(maxsize=256)
def _statistics(cubin: bytes, dynamic_shared: int) -> Statistics:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.cubin"
        file.write_bytes(cubin)
        listing = _tool("nvdisasm", "-c", str(file))
        usage = _tool("cuobjdump", "-res-usage", str(file))
    used = re.search(r"REG:(\d+) STACK:(\d+) SHARED:(\d+)", usage)
    if used is None:
        raise ValueError(f"cuobjdump tells no resources: {usage}")
    opcodes, labels, jumps = _read(listing)
    whole = Counter(opcodes)
    return Statistics(
        whole=whole,
        loop=_hottest(opcodes, labels, jumps),
        registers=int(used[1]),
        stack_bytes=int(used[2]),
        spills=sum(n for opcode, n in whole.items() if opcode.split(".")[0] in ("LDL", "STL")),
        shared_bytes=int(used[3]) + dynamic_shared,
    )


def _tool(name: str, *arguments: str) -> str:
    return subprocess.run([_TOOLS / name, *arguments], check=True, capture_output=True, text=True).stdout


def _read(listing: str) -> tuple[list[str], dict[str, int], list[tuple[int, str]]]:
    """The opcodes, the places of the labels, and the branches with the label that each goes to."""
    opcodes: list[str] = []
    labels: dict[str, int] = {}
    jumps: list[tuple[int, str]] = []
    for line in listing.splitlines():
        if label := _LABEL.match(line):
            labels[label[1]] = len(opcodes)
        elif instruction := _INSTRUCTION.match(line):
            if to := re.search(r"`\((\.L\w+)\)", instruction[2]):
                jumps.append((len(opcodes), to[1]))
            opcodes.append(instruction[1])
    # After the last exit stand a branch to itself and padding.
    end = max((i + 1 for i, opcode in enumerate(opcodes) if opcode.startswith(("EXIT", "RET"))), default=len(opcodes))
    return opcodes[:end], labels, [jump for jump in jumps if jump[0] < end]


def _hottest(opcodes: list[str], labels: dict[str, int], jumps: list[tuple[int, str]]) -> Counter[str]:
    loops = [(labels[to], at) for at, to in jumps if opcodes[at].startswith("BRA") and labels.get(to, at) < at]
    inner = [a for a in loops if not any(a != b and a[0] <= b[0] and b[1] <= a[1] for b in loops)]

    def heat(loop: tuple[int, int]) -> tuple[int, int]:
        body = opcodes[loop[0] : loop[1] + 1]
        return sum(opcode.startswith(("LDG", "LDGSTS", "HMMA", "HGMMA")) for opcode in body), len(body)

    return Counter(opcodes[slice(max(inner, key=heat)[0], max(inner, key=heat)[1] + 1)] if inner else [])
