"""Run a kernel's PTX on the CPU.

Threads are carried along in fronts: those that stand at the same instruction. The front that is furthest behind goes
first, so that threads which took different branches meet again where the branches do (Diamos et al. 2011, "SIMD
re-convergence at thread frontiers").
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from gpuless.ptx import conversions, floats, integers, tensor_cores, transfers, warps
from gpuless.ptx.faults import Fault, Undefined, UnknownInstruction
from gpuless.ptx.global_memory import Distant, GlobalMemory
from gpuless.ptx.machine import DECODERS, Machine, Mask, Step
from gpuless.ptx.parser import Address, Instruction, Operand, Program, Symbol, Vector, parse
from gpuless.ptx.shared_memory import SharedMemory
from torch import Tensor

Argument = Tensor | Distant | int | float

#: The modules that decode instructions.
INSTRUCTION_SETS = (conversions, floats, integers, tensor_cores, transfers, warps)

_BATCH = 4096  # threads in one vector
_WIDTHS = {"b8": 8, "u8": 8, "s8": 8, "b16": 16, "u16": 16, "s16": 16, "f32": 32, "f64": 64}
_WIDTHS |= {f"{kind}{bits}": bits for kind in "bus" for bits in (32, 64)}
_FLOATS = {16: "<e", 32: "<f", 64: "<d"}


def run(
    ptx: str,
    grid: tuple[int, ...],
    arguments: Sequence[Argument],
    shared_bytes: int = 0,
    ctas: Sequence[tuple[int, int, int]] | None = None,
    limit: int = 1_000_000,
) -> int:
    """Execute a grid of CTAs; what it writes is written to the tensors.

    Args:
        ptx: a module with one entry.
        grid: CTAs along x, y, z.
        arguments: one for each parameter of the entry; parameters left over are null pointers (Triton's scratch).
        shared_bytes: dynamic shared memory of each CTA.
        ctas: which of the grid are executed; all where not given.
        limit: instructions that a batch of CTAs may execute.

    Returns:
        How many instructions were executed, counted once for all threads that execute them together.

    Raises:
        Fault: of the kinds in `gpuless.ptx.faults`, with the instruction; the tensors are left as they were.
    """
    program, steps = _load(ptx)
    x, y, z = (*grid, 1, 1)[:3]
    tensors = [getattr(argument, "tensor", argument) for argument in arguments]
    memory = GlobalMemory([tensor for tensor in tensors if isinstance(tensor, Tensor)])
    parameters = _parameters(program, arguments, memory)
    chosen = np.array(list(itertools.product(range(x), range(y), range(z))) if ctas is None else ctas, np.int64)
    at_once = max(1, _BATCH // program.threads)
    executed = 0
    for first in range(0, len(chosen), at_once):
        batch = chosen[first : first + at_once]
        shared = SharedMemory(shared_bytes, len(batch), program.threads)
        machine = Machine(program.threads, batch, (x, y, z), parameters, memory, shared)
        executed += _execute(program, steps, machine, limit)
    memory.write_back()
    return executed


@lru_cache(maxsize=64)
def _load(ptx: str) -> tuple[Program, tuple[Step | None, ...]]:
    program = parse(ptx)
    return program, _decode(program)


def _parameters(program: Program, arguments: Sequence[Argument], memory: GlobalMemory) -> dict[str, tuple[int, int]]:
    if len(arguments) > len(program.parameters):
        raise UnknownInstruction(f"{len(arguments)} arguments for {len(program.parameters)} parameters")
    values: dict[str, tuple[int, int]] = {}
    for i, parameter in enumerate(program.parameters):
        bits = _WIDTHS.get(parameter.type)
        if bits is None:
            raise UnknownInstruction(f"the parameter type `{parameter.type}`")
        argument = arguments[i] if i < len(arguments) else 0
        if isinstance(argument, Tensor | Distant):
            value = memory.pointer(argument)
        elif isinstance(argument, float):
            value = int.from_bytes(struct.pack(_FLOATS[bits], argument), "little")
        else:
            value = int(argument) & ((1 << bits) - 1)
        values[parameter.name] = (value, bits)
    return values


def _decode(program: Program) -> tuple[Step | None, ...]:
    """A step for each instruction; None for those that change where a thread stands."""
    known = {*program.shared, *program.labels, *(parameter.name for parameter in program.parameters)}
    steps: list[Step | None] = []
    for op in program.instructions:
        strangers = {symbol for operand in op.operands for symbol in _symbols(operand)} - known
        if strangers:
            raise UnknownInstruction(f"`{op.text}` names {', '.join(sorted(strangers))}")
        if op.opcode[0] in ("bra", "ret", "exit"):
            steps.append(None)
        elif op.opcode[0] in DECODERS:
            steps.append(DECODERS[op.opcode[0]](op))
        else:
            raise UnknownInstruction(f"`{op.text}`")
    return tuple(steps)


def _symbols(operand: Operand) -> list[str]:
    match operand:
        case Symbol():
            return [operand.name]
        case Address():
            return _symbols(operand.base)
        case Vector():
            return [name for item in operand.items for name in _symbols(item)]
    return []


def _execute(program: Program, steps: tuple[Step | None, ...], machine: Machine, limit: int) -> int:
    fronts: dict[int, Mask] = {0: np.ones(machine.size, bool)}
    executed = 0
    with np.errstate(all="ignore"):
        while fronts:
            at = min(fronts)
            mask = fronts.pop(at)
            ahead = min(fronts, default=len(steps))
            machine.activate(mask)
            # The front walks until it branches or reaches the next one.
            while at < ahead:
                op, step = program.instructions[at], steps[at]
                executed += 1
                if executed > limit:
                    raise Undefined(f"no end after {limit} instructions, at `{op.text}`")
                try:
                    taken = _guarded(machine, op, step, mask)
                except Fault as fault:
                    raise type(fault)(f"{fault} [instruction {at}: {op.text}]") from None
                at += 1
                if step is None and taken.any():
                    if op.opcode[0] == "bra":
                        label = op.operands[0]
                        assert isinstance(label, Symbol)
                        _join(fronts, program.labels[label.name], taken)
                    mask = mask & ~taken
                    break
            if at < len(steps) and mask.any():
                _join(fronts, at, mask)
    return executed


def _guarded(machine: Machine, op: Instruction, step: Step | None, mask: Mask) -> Mask:
    """Carry out an instruction for the threads of the front whose guard holds; which these are."""
    if op.predicate is None:
        if step:
            step(machine)
        return mask
    register, negated = op.predicate
    taken = mask & (machine.read(register) ^ negated)
    if step and taken.any():
        machine.activate(taken)
        step(machine)
        machine.activate(mask)
    return taken


def _join(fronts: dict[int, Mask], at: int, mask: Mask) -> None:
    fronts[at] = fronts[at] | mask if at in fronts else mask
