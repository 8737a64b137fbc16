"""The state of the threads of some CTAs: registers, and the instructions that read and write them.

All threads of all CTAs of a batch are one numpy vector. An instruction is decoded once into a `Step`, a function that
carries it out for the threads that are `active`.

What was never written holds 0x7FFF7FFF…: NaN in every float format, and an address outside every tensor, so that
a result which depends on it shows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from gpuless.ptx.faults import Divergence, Undefined, UnknownInstruction
from gpuless.ptx.formats import SIGNED, UNSIGNED, Bits
from gpuless.ptx.global_memory import GlobalMemory
from gpuless.ptx.parser import Address, Instruction, Literal, Operand, Register, Special, Symbol, Vector
from gpuless.ptx.shared_memory import SHARED_BASE, SharedMemory
from numpy.typing import NDArray

WARP = 32
_POISON = 0x7FFF7FFF7FFF7FFF

Mask = NDArray[np.bool_]


@dataclass
class Machine:
    """Some CTAs in lockstep.

    Attributes:
        threads: of each CTA.
        ctas: their indices in the grid, CTAs×3.
        grid: CTAs along x, y, z.
        parameters: name → value and bits.
        active: which threads carry out the current instruction.
    """

    threads: int
    ctas: NDArray[np.int64]
    grid: tuple[int, int, int]
    parameters: dict[str, tuple[int, int]]
    memory: GlobalMemory
    shared: SharedMemory
    registers: dict[str, NDArray] = field(default_factory=dict)
    active: Mask = field(init=False)

    def __post_init__(self) -> None:
        self.size = self.threads * len(self.ctas)
        self.active = np.ones(self.size, bool)
        self.everyone = True  # whether all threads are active

    def activate(self, mask: Mask) -> None:
        """Let these threads carry out what follows."""
        self.active = mask
        self.everyone = bool(mask.all())

    def special(self, name: str) -> Bits:
        """A read-only register, u32."""
        thread = np.tile(np.arange(self.threads, dtype=np.uint32), len(self.ctas))
        kind, _, axis = name.lstrip("%").partition(".")
        place = "xyz".find(axis)
        match kind:
            case "tid":
                return thread if axis == "x" else thread * np.uint32(0)
            case "laneid":
                return thread % np.uint32(WARP)
            case "warpid":
                return thread // np.uint32(WARP)
            case "ctaid":
                return np.repeat(self.ctas[:, place].astype(np.uint32), self.threads)
        value = {"ntid": (self.threads, 1, 1)[place], "nwarpid": self.threads // WARP, "nctaid": self.grid[place]}[kind]
        return np.full(self.size, value, np.uint32)

    def read(self, register: Register) -> NDArray:
        """The value in each thread; raises `Undefined` for a predicate that was never set."""
        value = self.registers.get(register.name)
        if value is None:
            if register.bits == 1:
                raise Undefined(f"the predicate `{register.name}` is read before it is set")
            mask = (1 << register.bits) - 1
            value = self.registers[register.name] = np.full(self.size, _POISON & mask, UNSIGNED[register.bits])
        return value

    def write(self, register: Register, value: NDArray) -> None:
        """Into the active threads. A narrower value is extended to the register by its sign, if its dtype has one."""
        if register.name == "_":
            return
        if register.bits > 1:
            if value.dtype.itemsize * 8 < register.bits and value.dtype.kind == "i":
                value = value.astype(SIGNED[register.bits])
            value = value.astype(UNSIGNED[register.bits], copy=False)
        if self.everyone:
            self.registers[register.name] = np.broadcast_to(value, (self.size,))
            return
        old = self.registers.get(register.name)
        if old is None:
            old = np.full(self.size, False) if register.bits == 1 else self.read(register)
        self.registers[register.name] = np.where(self.active, value, old)

    def by_warp(self, value: NDArray) -> NDArray:
        """threads → warps×32."""
        return value.reshape(-1, WARP)

    def whole(self, group: int, text: str) -> Mask:
        """Which groups of this many threads are active, for an instruction that all of them must carry out together.

        Raises:
            Divergence: a group is active in part.
        """
        active = self.active.reshape(-1, group)
        some: Mask = np.any(active, axis=1)
        if (some != active.all(axis=1)).any():
            who = "CTA" if group == self.threads else "warp"
            raise Divergence(f"`{text}` is reached by a part of a {who} only")
        return some


Step = Callable[[Machine], None]
Source = Callable[[Machine], NDArray]
Decoder = Callable[[Instruction], Step]

DECODERS: dict[str, Decoder] = {}


def instruction(*names: str) -> Callable[[Decoder], Decoder]:
    """Register the decoder of all instructions whose opcode starts with one of the names."""

    def register(decoder: Decoder) -> Decoder:
        DECODERS.update(dict.fromkeys(names, decoder))
        return decoder

    return register


def unknown(op: Instruction) -> UnknownInstruction:
    return UnknownInstruction(f"`{op.text}`")


def only(op: Instruction, known: Iterable[str]) -> None:
    """Refuse an instruction with a modifier that is not among these and not its type, its last part."""
    if set(op.opcode[1:-1]) - set(known):
        raise unknown(op)


def source(operand: Operand, bits: int, signed: bool = False) -> Source:
    """Reads an operand as bits of this width, of a signed dtype where asked; predicates (1 bit) as bool."""
    dtype = np.dtype(bool if bits == 1 else (SIGNED if signed else UNSIGNED)[bits])
    match operand:
        case Register():
            return lambda machine: machine.read(operand).astype(dtype, copy=False)
        case Special():
            return lambda machine: machine.special(operand.name).astype(dtype)
        case Literal():
            constant = np.array(operand.value & ((1 << max(bits, 8)) - 1), UNSIGNED[max(bits, 8)]).astype(dtype)
        case Symbol():
            constant = np.array(SHARED_BASE, dtype)
        case _:
            raise UnknownInstruction(f"the operand {operand}")
    return lambda machine: np.broadcast_to(constant, (machine.size,))


def target(operand: Operand) -> Register:
    """The register that an instruction writes."""
    if not isinstance(operand, Register):
        raise UnknownInstruction(f"{operand} as a target")
    return operand


def items(operand: Operand) -> tuple[Operand, ...]:
    """The elements of a vector; one operand is a vector of one."""
    return operand.items if isinstance(operand, Vector) else (operand,)


def address(operand: Operand) -> Source:
    """The address of a memory operand, int64 in each thread."""
    if not isinstance(operand, Address):
        raise UnknownInstruction(f"{operand} as an address")
    base = source(operand.base, operand.base.bits if isinstance(operand.base, Register) else 64)
    return lambda machine: base(machine).astype(np.int64) + operand.offset
