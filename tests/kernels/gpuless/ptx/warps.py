"""Instructions that the threads of a warp or a CTA carry out together. Source: PTX ISA, 9.7.9 and 9.7.13."""

from __future__ import annotations

import numpy as np
from gpuless.ptx.faults import Divergence
from gpuless.ptx.machine import WARP, Machine, Step, instruction, items, source, target, unknown
from gpuless.ptx.parser import Instruction, Literal, Operand
from numpy.typing import NDArray

_ALL = 0xFFFFFFFF


def _full(op: Instruction, member_mask: Operand) -> None:
    """Only instructions for all 32 threads of a warp are known."""
    if not isinstance(member_mask, Literal) and not hasattr(member_mask, "bits"):
        raise unknown(op)
    if isinstance(member_mask, Literal) and member_mask.value & _ALL != _ALL:
        raise unknown(op)


@instruction("shfl")
def _shuffle(op: Instruction) -> Step:
    if op.opcode[1] != "sync" or op.opcode[2] not in ("up", "down", "bfly", "idx"):
        raise unknown(op)
    mode = op.opcode[2]
    into, *inside = (target(item) for item in items(op.operands[0]))
    value, by, clamp = (source(operand, 32) for operand in op.operands[1:4])
    _full(op, op.operands[4])
    members = source(op.operands[4], 32)

    def shuffle(machine: Machine) -> None:
        machine.whole(WARP, op.text)
        if (members(machine) != _ALL).any():
            raise Divergence(f"`{op.text}` is for a part of a warp only")
        lane = machine.by_warp(machine.special("%laneid")).astype(np.int64)
        step = machine.by_warp(by(machine)).astype(np.int64) & 31
        control = machine.by_warp(clamp(machine)).astype(np.int64)
        segment = (control >> 8) & 31
        bound = (lane & segment) | (control & 31 & ~segment)
        low = lane & segment
        match mode:
            case "up":
                origin = lane - step
                valid = origin >= bound
            case "down":
                origin = lane + step
                valid = origin <= bound
            case "bfly":
                origin = lane ^ step
                valid = origin <= bound
            case _:
                origin = low | (step & ~segment)
                valid = origin <= bound
        origin = np.where(valid, origin, lane)
        machine.write(into, np.take_along_axis(machine.by_warp(value(machine)), origin, axis=1).reshape(-1))
        for predicate in inside:
            machine.write(predicate, valid.reshape(-1))

    return shuffle


@instruction("redux")
def _reduce(op: Instruction) -> Step:
    if op.opcode[1] != "sync" or len(op.opcode) != 4:
        raise unknown(op)
    kind = op.opcode[3]
    functions: dict[str, np.ufunc] = {"add": np.add, "min": np.minimum, "max": np.maximum}
    functions |= {"and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}
    if op.opcode[2] not in functions or kind not in ("s32", "u32", "b32"):
        raise unknown(op)
    function = functions[op.opcode[2]]
    into, value, members = target(op.operands[0]), source(op.operands[1], 32, kind == "s32"), source(op.operands[2], 32)

    def reduce(machine: Machine) -> None:
        machine.whole(WARP, op.text)
        if (members(machine) != _ALL).any():
            raise Divergence(f"`{op.text}` is for a part of a warp only")
        values = machine.by_warp(value(machine))
        machine.write(into, np.repeat(function.reduce(values, axis=1, dtype=values.dtype), WARP))

    return reduce


@instruction("vote")
def _vote(op: Instruction) -> Step:
    if op.opcode[1] != "sync" or op.opcode[2] not in ("all", "any", "ballot"):
        raise unknown(op)
    into, value = target(op.operands[0]), source(op.operands[1], 1)
    _full(op, op.operands[2])

    def vote(machine: Machine) -> None:
        machine.whole(WARP, op.text)
        votes = machine.by_warp(value(machine))
        if op.opcode[2] == "ballot":
            result: NDArray = (votes.astype(np.uint32) << np.arange(WARP, dtype=np.uint32)).sum(axis=1, dtype=np.uint32)
        else:
            result = np.all(votes, axis=1) if op.opcode[2] == "all" else np.any(votes, axis=1)
        machine.write(into, np.repeat(result, WARP))

    return vote


@instruction("bar", "barrier")
def _barrier(op: Instruction) -> Step:
    parts = tuple(part for part in op.opcode[1:] if part not in ("cta", "aligned"))
    if parts == ("warp", "sync"):
        _full(op, op.operands[0])
        return lambda machine: machine.shared.warp_barrier(machine.whole(WARP, op.text))
    barrier, *count = op.operands
    if parts != ("sync",) or not isinstance(barrier, Literal):
        raise unknown(op)
    threads = [source(operand, 32) for operand in count]

    def meet(machine: Machine) -> None:
        if any((read(machine) != machine.threads).any() for read in threads):
            raise Divergence(f"`{op.text}` is for a part of a CTA only")
        machine.shared.barrier(machine.whole(machine.threads, op.text))

    return meet


@instruction("membar", "fence")
def _fence(op: Instruction) -> Step:
    # Orders the accesses of one thread: instructions are carried out in order, and barriers alone order threads.
    return lambda machine: None
