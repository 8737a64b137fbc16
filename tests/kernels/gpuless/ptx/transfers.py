"""Instructions that touch memory. Source: PTX ISA, 9.7.9 (ld, st, cp.async), 9.7.13 (atom) and 9.7.14 (ldmatrix)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from gpuless.ptx.formats import SIGNED, UNSIGNED, WIDTH, decode, encode
from gpuless.ptx.machine import WARP, Machine, Step, address, instruction, items, source, target, unknown
from gpuless.ptx.parser import Address, Instruction, Literal, Symbol
from numpy.typing import NDArray

_SPACES = ("global", "shared")
#: Cache hints and orders: they change no value that a thread sees.
_HINTS = {
    "ca",
    "cg",
    "cs",
    "relaxed",
    "acquire",
    "release",
    "acq_rel",
    "gpu",
    "cta",
    "sys",
    "volatile",
    "weak",
    "nc",
    "L1",
    "L2",
}


def _space(op: Instruction) -> str:
    """The address space, which is never guessed."""
    parts = [part.partition("::") for part in op.opcode]
    spaces = [name for name, _, of in parts if name in _SPACES and of in ("", "cta")]
    if len(spaces) != 1:
        raise unknown(op)
    return spaces[0]


def _shape(op: Instruction) -> tuple[str, int, int]:
    """The kind and width of an element, and how many there are."""
    extra = {part.partition("::")[0] for part in op.opcode[1:-1]} - _HINTS - set(_SPACES) - {"v2", "v4", "v8"}
    kind, bits = op.opcode[-1][0], "".join(c for c in op.opcode[-1] if c.isdigit())
    if extra or op.opcode[-1].endswith("x2") or int(bits or 0) not in UNSIGNED:
        raise unknown(op)
    count = next((int(part[1:]) for part in op.opcode if part in ("v2", "v4", "v8")), 1)
    return kind, int(bits), count


def _threads(machine: Machine) -> NDArray[np.int64]:
    return np.flatnonzero(machine.active)


def _load(machine: Machine, space: str, addresses: NDArray, size: int, threads: NDArray) -> NDArray[np.uint8]:
    if space == "shared":
        return machine.shared.load(addresses, size, threads)
    return machine.memory.load(addresses, size, _identity(machine, threads))


def _identity(machine: Machine, threads: NDArray) -> NDArray[np.int64]:
    """Threads counted through the whole grid."""
    x, y, z = machine.ctas[threads // machine.threads].T
    cta = (z * machine.grid[1] + y) * machine.grid[0] + x
    return cta * machine.threads + threads % machine.threads


@instruction("ld", "ldu")
def _ld(op: Instruction) -> Step:
    if "param" in op.opcode:
        return _parameter(op)
    space = _space(op)
    kind, bits, count = _shape(op)
    at, into = address(op.operands[1]), tuple(target(item) for item in items(op.operands[0]))
    if len(into) != count:
        raise unknown(op)
    dtype = (SIGNED if kind == "s" else UNSIGNED)[bits]

    def load(machine: Machine) -> None:
        threads = _threads(machine)
        loaded = _load(machine, space, at(machine)[threads], bits // 8 * count, threads)
        for register, column in zip(into, np.ascontiguousarray(loaded).view(dtype).T, strict=True):
            value = np.zeros(machine.size, dtype)
            value[threads] = column
            machine.write(register, value)

    return load


def _parameter(op: Instruction) -> Step:
    kind, bits = op.opcode[-1][0], int(op.opcode[-1][1:])
    source_of = op.operands[1]
    if op.opcode[1:-1] != ("param",) or not isinstance(source_of, Address) or not isinstance(source_of.base, Symbol):
        raise unknown(op)
    if source_of.offset:
        raise unknown(op)
    name, into = source_of.base.name, target(op.operands[0])
    dtype = np.dtype((SIGNED if kind == "s" else UNSIGNED)[bits])

    def load(machine: Machine) -> None:
        value, width = machine.parameters[name]
        if width != bits:
            raise unknown(op)
        machine.write(into, np.full(machine.size, np.array(value, UNSIGNED[bits]).astype(dtype)))

    return load


@instruction("st")
def _st(op: Instruction) -> Step:
    space = _space(op)
    _, bits, count = _shape(op)
    at, values = address(op.operands[0]), [source(item, bits) for item in items(op.operands[1])]
    if len(values) != count:
        raise unknown(op)

    def store(machine: Machine) -> None:
        threads = _threads(machine)
        value = np.stack([read(machine)[threads] for read in values], axis=1).view(np.uint8)
        addresses = at(machine)[threads]
        if space == "shared":
            machine.shared.store(addresses, value, threads)
        else:
            machine.memory.store(addresses, value, _identity(machine, threads))

    return store


@instruction("cp")
def _cp(op: Instruction) -> Step:
    if op.opcode[1] != "async":
        raise unknown(op)
    if op.opcode[2:] == ("commit_group",):
        return lambda machine: machine.shared.commit(_threads(machine))
    if op.opcode[2:] in (("wait_group",), ("wait_all",)):
        pending = op.operands[0].value if op.operands and isinstance(op.operands[0], Literal) else 0

        def wait(machine: Machine) -> None:
            if op.opcode[2] == "wait_all":
                machine.shared.commit(_threads(machine))
            machine.shared.wait(pending, _threads(machine))

        return wait
    hints = {part.partition("::")[0] for part in op.opcode[3:]}
    if (
        op.opcode[2] not in ("ca", "cg")
        or hints - {"shared", "global", "L2"}
        or not isinstance(op.operands[2], Literal)
    ):
        raise unknown(op)
    size = op.operands[2].value
    if size not in (4, 8, 16) or op.opcode[2] == "cg" and size != 16:
        raise unknown(op)
    into, origin = address(op.operands[0]), address(op.operands[1])
    given = source(op.operands[3], 32) if len(op.operands) > 3 else None

    def copy(machine: Machine) -> None:
        threads = _threads(machine)
        lengths = given(machine)[threads] if given else np.full(len(threads), size, np.uint32)
        if ((lengths != 0) & (lengths != size)).any():
            raise unknown(op)  # a part of the bytes: legal, and never emitted
        value = np.zeros((len(threads), size), np.uint8)
        reads = lengths > 0
        value[reads] = _load(machine, "global", origin(machine)[threads][reads], size, threads[reads])
        machine.shared.copy(into(machine)[threads], value, threads)

    return copy


@instruction("ldmatrix", "stmatrix")
def _matrices(op: Instruction) -> Step:
    """Up to four 8×8 matrices of 16 bits: lane 8i+r holds the address of row r of matrix i, and two of its elements
    of each go to or come from every lane: row lane//4, columns 2(lane%4) and the next (transposed: the other way)."""
    count = next((int(part[1:]) for part in op.opcode if part in ("x1", "x2", "x4")), 0)
    known = {"sync", "aligned", "m8n8", "x1", "x2", "x4", "trans", "shared", "shared::cta", "b16"}
    loads = op.opcode[0] == "ldmatrix"
    registers, rows = op.operands if loads else reversed(op.operands)
    vector, at = items(registers), address(rows)
    if set(op.opcode[1:]) - known or not count or len(vector) != count or "m8n8" not in op.opcode:
        raise unknown(op)
    lane = np.arange(WARP)
    row, column = (lane // 4)[:, None], 2 * (lane % 4)[:, None] + np.arange(2)
    place = (column, row) if "trans" in op.opcode else (row, column)
    into = [target(item) for item in vector] if loads else []
    sources = [] if loads else [source(item, 32) for item in vector]

    def addresses(machine: Machine, i: int) -> tuple[NDArray, NDArray]:
        """Of the rows of matrix i, warps×8, and the threads that hold them, of active warps."""
        threads = np.arange(machine.size).reshape(-1, WARP)[machine.whole(WARP, op.text), 8 * i : 8 * i + 8]
        return at(machine)[threads], threads

    def load(machine: Machine) -> None:
        values = []
        for i in range(count):
            where, threads = addresses(machine, i)
            matrix = np.ascontiguousarray(machine.shared.load(where.ravel(), 16, threads.ravel())).view(np.uint16)
            halves = np.ascontiguousarray(matrix.reshape(-1, 8, 8)[:, *place])
            loaded = np.zeros((machine.size // WARP, WARP), np.uint32)
            loaded[machine.whole(WARP, op.text)] = halves.view(np.uint32)[..., 0]
            values.append(loaded.reshape(-1))
        for register, value in zip(into, values, strict=True):
            machine.write(register, value)

    def store(machine: Machine) -> None:
        for i in range(count):
            where, threads = addresses(machine, i)
            value = machine.by_warp(sources[i](machine))[machine.whole(WARP, op.text)]
            matrix = np.zeros((len(value), 8, 8), np.uint16)
            matrix[:, *place] = np.ascontiguousarray(value).view(np.uint16).reshape(-1, WARP, 2)
            machine.shared.store(where.ravel(), matrix.reshape(-1, 8).view(np.uint8), threads.ravel())

    return load if loads else store


_ATOMIC: dict[str, Callable] = {
    "add": lambda old, new: old + new,
    "min": min,
    "max": max,
    "and": lambda old, new: old & new,
    "or": lambda old, new: old | new,
    "xor": lambda old, new: old ^ new,
    "exch": lambda old, new: new,
}


@instruction("atom", "red")
def _atomic(op: Instruction) -> Step:
    space = _space(op)
    name = next((part for part in op.opcode if part in _ATOMIC or part == "cas"), None)
    kind = op.opcode[-1]
    known = _HINTS | {*_SPACES, "shared::cta", "noftz", name}
    if name is None or set(op.opcode[1:-1]) - known:
        raise unknown(op)
    bits = WIDTH.get(kind) or (int(kind[1:]) if kind[1:].isdigit() else 0)
    if bits not in UNSIGNED or bits < 16:
        raise unknown(op)
    operands = op.operands if op.opcode[0] == "red" else op.operands[1:]
    into = None if op.opcode[0] == "red" else target(op.operands[0])
    at, values = address(operands[0]), [source(operand, bits, kind[0] == "s") for operand in operands[1:]]
    dtype = (SIGNED if kind[0] == "s" else UNSIGNED)[bits]

    def new(old: NDArray, given: list[NDArray]) -> NDArray:
        if name == "cas":
            return given[1] if old == given[0] else old
        if kind not in WIDTH:
            return _ATOMIC[name](old, given[0])
        return encode(_ATOMIC[name](decode(old[None], kind), decode(given[0][None], kind)), kind)[0]

    def update(machine: Machine) -> None:
        # One thread after the other, in their order: one of the orders that a GPU may choose.
        addresses, given = at(machine), [read(machine) for read in values]
        result = np.zeros(machine.size, dtype)
        for thread in _threads(machine):
            place = int(addresses[thread])
            if space == "shared":
                memory = machine.shared.update(place, bits // 8, int(thread)).view(dtype)
            else:
                memory = machine.memory.update(place, bits // 8).view(dtype)
            result[thread] = memory[0]
            memory[0] = new(memory[0], [value[thread] for value in given])
        if into:
            machine.write(into, result)

    return update
