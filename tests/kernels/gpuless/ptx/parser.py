"""PTX text → a program of typed instructions. Source: PTX ISA 8.8, chapters 4 (syntax) and 5 (types)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gpuless.ptx.faults import UnknownInstruction


@dataclass(frozen=True)
class Register:
    """bits: its width; 1 for a predicate."""

    name: str
    bits: int


@dataclass(frozen=True)
class Special:
    """A read-only register such as `%tid.x`."""

    name: str


@dataclass(frozen=True)
class Literal:
    """An integer, or the bits of a float."""

    value: int


@dataclass(frozen=True)
class Symbol:
    """A variable, standing for its address, or a label."""

    name: str


@dataclass(frozen=True)
class Address:
    """[base + offset]."""

    base: Operand
    offset: int


@dataclass(frozen=True)
class Vector:
    """{a, b, …}, or the two targets a|b."""

    items: tuple[Operand, ...]


Operand = Register | Special | Literal | Symbol | Address | Vector


@dataclass(frozen=True)
class Instruction:
    """One statement.

    Attributes:
        text: as it stands in the source.
        opcode: its parts between dots, `("add", "rn", "f32")`.
        predicate: the guard and whether it is negated; None where there is none.
    """

    text: str
    opcode: tuple[str, ...]
    operands: tuple[Operand, ...]
    predicate: tuple[Register, bool] | None = None


@dataclass(frozen=True)
class Parameter:
    name: str
    type: str  # such as "u64"


@dataclass(frozen=True)
class Program:
    """An entry: what it takes, how many threads run it, and what they do.

    Attributes:
        labels: name → index of the instruction that follows.
        shared: names of its arrays in shared memory.
    """

    name: str
    parameters: tuple[Parameter, ...]
    threads: int
    instructions: tuple[Instruction, ...]
    labels: dict[str, int]
    shared: tuple[str, ...]


_SPECIAL = re.compile(r"%(tid|ntid|ctaid|nctaid)\.[xyz]$|%(laneid|warpid|nwarpid)$")
_LABEL = re.compile(r"([$\w]+)\s*:(?!:)\s*")


def parse(text: str) -> Program:
    """The one entry of a PTX module.

    Raises:
        UnknownInstruction: something in it cannot be read.
    """
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    text = re.sub(r"//[^\n]*", "", text)
    text = re.sub(r"^\s*\.(loc|file)\b[^\n]*", "", text, flags=re.M)
    head = re.search(r"\.entry\s+([$\w]+)\s*\((.*?)\)(.*?)\{", text, re.S)
    if head is None:
        raise UnknownInstruction("a PTX module without an entry")
    threads = re.search(r"\.(?:reqntid|maxntid)\s+(\d+)(?:\s*,\s*1)*\s*$", head[3].strip())
    if threads is None:
        raise UnknownInstruction(f"the number of threads of `{head[1]}`: {head[3].strip()!r}")
    parameters = re.findall(r"\.param\s+\.(\w+)[^,]*?([$\w]+)\s*(?:,|$)", head[2].strip())
    # An array at the end of shared memory, sized at launch, is the only kind there is.
    shared = re.findall(r"\.extern\s+\.shared\s+\.align\s+\d+\s+\.b8\s+([$\w]+)\[\]", text)
    instructions, labels = _Body(text[head.end() :]).read()
    return Program(
        name=head[1],
        parameters=tuple(Parameter(name, type_) for type_, name in parameters),
        threads=int(threads[1]),
        instructions=instructions,
        labels=labels,
        shared=tuple(shared),
    )


class _Body:
    """Splits what stands between the braces of an entry, and resolves names in their scope."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.scopes: list[dict[str, Register]] = [{}]
        self.ranges: dict[str, int] = {}  # prefix of `%r<100>` → bits
        self.instructions: list[Instruction] = []
        self.labels: dict[str, int] = {}
        self.scopes_seen = 0

    def read(self) -> tuple[tuple[Instruction, ...], dict[str, int]]:
        statement = ""
        for character in self.text:
            if character == ";":
                self._statement(statement)
                statement = ""
            elif character in "{}" and not self._strip_labels(statement):
                # A brace between statements is a scope, within one a vector.
                statement = ""
                if character == "{":
                    self.scopes_seen += 1
                    self.scopes.append({})
                elif len(self.scopes) == 1:
                    return tuple(self.instructions), self.labels
                else:
                    self.scopes.pop()
            else:
                statement += character
        raise UnknownInstruction("an entry that does not end")

    def _strip_labels(self, statement: str) -> str:
        statement = statement.strip()
        while label := _LABEL.match(statement):
            self.labels[label[1]] = len(self.instructions)
            statement = statement[label.end() :]
        return statement

    def _statement(self, statement: str) -> None:
        statement = self._strip_labels(statement)
        if statement.startswith(".reg"):
            self._declare(statement)
        elif statement.startswith(".") and not statement.startswith(".pragma"):
            raise UnknownInstruction(f"`{statement}`")  # a variable, in local memory for instance
        elif statement and not statement.startswith("."):
            self._instruction(" ".join(statement.split()))

    def _declare(self, statement: str) -> None:
        _, kind, names = statement.split(None, 2)
        bits = 1 if kind == ".pred" else 64 if kind == ".b64" else int(re.sub(r"\D", "", kind.replace("x2", "")))
        if kind.endswith("x2"):
            bits *= 2
        inner = len(self.scopes) > 1
        for name in (name.strip() for name in names.split(",")):
            counted = re.fullmatch(r"(.+)<(\d+)>", name)
            if counted and not inner:
                self.ranges[counted[1]] = bits
                continue
            declared = [f"{counted[1]}{i}" for i in range(int(counted[2]))] if counted else [name]
            for each in declared:
                self.scopes[-1][each] = Register(f"{each}@{self.scopes_seen}" if inner else each, bits)

    def _instruction(self, text: str) -> None:
        guard = re.match(r"@(!?)\s*([%$\w]+)\s+", text)
        predicate = None
        rest = text
        if guard:
            register = self._register(guard[2])
            if register is None or register.bits != 1:
                raise UnknownInstruction(f"the guard of `{text}`")
            predicate = (register, bool(guard[1]))
            rest = text[guard.end() :]
        opcode, _, operands = rest.partition(" ")
        parsed = tuple(self._operand(operand, text) for operand in _split(operands))
        self.instructions.append(Instruction(text, tuple(opcode.split(".")), parsed, predicate))

    def _operand(self, operand: str, text: str) -> Operand:
        if operand.startswith("{"):
            return Vector(tuple(self._operand(item, text) for item in _split(operand.strip("{}"))))
        if operand.startswith("["):
            base, sign, offset = re.fullmatch(r"\[\s*([^\s+\-\]]+)\s*(?:(\+)\s*(-?\w+))?\s*\]", operand).groups()  # type: ignore[union-attr]
            return Address(self._operand(base, text), int(offset, 0) if sign else 0)
        if "|" in operand:
            return Vector(tuple(self._operand(item.strip(), text) for item in operand.split("|")))
        if operand == "_":
            return Register("_", 0)
        register = self._register(operand)
        if register is not None:
            return register
        if _SPECIAL.match(operand):
            return Special(operand)
        if literal := re.fullmatch(r"0[fFdD]([0-9A-Fa-f]+)", operand):
            return Literal(int(literal[1], 16))
        if re.fullmatch(r"-?(0[xX][0-9A-Fa-f]+|\d+)U?", operand):
            return Literal(int(operand.rstrip("U"), 0))
        if re.fullmatch(r"[$\w]+", operand):
            return Symbol(operand)
        raise UnknownInstruction(f"the operand `{operand}` of `{text}`")

    def _register(self, name: str) -> Register | None:
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        counted = re.fullmatch(r"(%[a-z]+)\d+", name)
        return Register(name, self.ranges[counted[1]]) if counted and counted[1] in self.ranges else None


def _split(operands: str) -> list[str]:
    """At the commas outside braces and brackets."""
    parts = re.findall(r"(?:\{[^}]*\}|\[[^\]]*\]|[^,{\[])+", operands)
    return [part.strip() for part in parts if part.strip()]
