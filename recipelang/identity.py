"""What an object of Python is, as a digest: its class, what it holds, and the code that its methods run.

    object ─▶ class, attributes, tensors ─▶ functions ─▶ bytecode, constants, globals and closures ─▶ …

Bytecode instead of source text: it exists for every function of Python, also one that was typed into a console or made
by `exec`, and it does not change with comments and layout. Code of installed packages counts by name alone, as
everywhere in the store.
"""

from __future__ import annotations

import copyreg
import dis
import enum
import functools
import hashlib
import sys
import sysconfig
import types
import uuid
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from recipelang.extras import put_there
from recipelang.lazy import numpy, torch

#: attributes of every class that say nothing about what it does
_OF_CLASSES = {
    *("__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__firstlineno__", "__static_attributes__"),
    *("__annotations__", "__annotate__", "__annotate_func__", "__annotations_cache__", "__conditional_annotations__"),
    *("__abstractmethods__", "_abc_impl", "__parameters__", "__orig_bases__", "__match_args__"),
}
#: attributes of modules of torch that change without changing what is computed
_OF_NETWORKS = {"training", "_compiled_call_impl", "_non_persistent_buffers_set", "_is_full_backward_hook"}
#: of a longer list in the state of a data set only the length counts: its samples are looked at themselves
LONGEST = 1_000


@dataclass(frozen=True)
class Identity:
    """What was found.

    Attributes:
        digest: SHA-256 in hex.
        unknown: names of the classes of what nobody can look into: a lock, an open file.
    """

    digest: str
    unknown: tuple[str, ...] = ()


def of_network(module: Any, *, weights: bool = True) -> Identity:
    """The identity of an nn.Module, or of a function that builds one.

    What nobody can look into makes it different from every other, since a change of it would not be seen.

    Args:
        weights: whether the numbers in tensors count, or only their types and shapes.
    """
    return _identity(module, _Walk(weights, unique=True))


def of_data(dataset: Any) -> Identity:
    """The identity of the code and settings of a data set.

    Its samples are looked at apart from this, so that tensors, texts and paths in it do not count.
    """
    return _identity(dataset, _Walk(tensors=False, brief=True))


def _identity(value: Any, walk: _Walk) -> Identity:
    whole = hashlib.sha256()
    try:
        for part in walk.told(value):
            whole.update(part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part)
            whole.update(b"\0")
    except RecursionError:  # a list of a thousand links, each of which holds the next
        walk.unknown.append(type(value).__name__)
        # how far the walk came depends on the depth of the caller: what it saw says nothing
        whole = hashlib.sha256(str(uuid.uuid4() if walk.unique else "").encode())
    return Identity(whole.hexdigest(), tuple(dict.fromkeys(walk.unknown)))


@dataclass
class _Walk:
    """One walk through everything that a value reaches.

    Attributes:
        tensors: whether their numbers count. brief: whether texts and long lists count by their kind alone.
        unique: whether what nobody can look into is different each time.
        seen: id → number of what was met before, so that circles end; with the object, since an id is unique only
            while its object is alive.
    """

    tensors: bool
    brief: bool = False
    unique: bool = False
    unknown: list[str] = field(default_factory=list)
    seen: dict[int, tuple[int, Any]] = field(default_factory=dict)

    def told(self, value: Any) -> Iterator[str | bytes]:
        """A value as a sequence of texts and bytes."""
        if (
            value is None
            or value is Ellipsis
            or value is NotImplemented
            or isinstance(value, bool | int | float | complex)
        ):
            yield f"{type(value).__name__} {value!r}"
        elif isinstance(value, str | bytes | PurePath):
            yield type(value).__name__ if self.brief else f"{type(value).__name__} {value!r}"
        elif isinstance(value, types.CodeType):
            yield from self._code(value)
        elif id(value) in self.seen:
            yield f"again {self.seen[id(value)][0]}"
        else:
            self.seen[id(value)] = len(self.seen), value
            yield from self._new(value)

    def _new(self, value: Any) -> Iterator[str | bytes]:
        if isinstance(value, enum.Enum):
            yield f"enum {_name(type(value))}.{value.name}"
        elif isinstance(value, types.ModuleType):
            yield f"module {value.__name__}"
        elif isinstance(value, type):
            yield from self._class(value)
        elif isinstance(value, types.FunctionType):
            yield from self._function(value)
        elif isinstance(value, types.MethodType):
            yield "method"
            yield from self._all((value.__func__, value.__self__))
        elif isinstance(value, staticmethod | classmethod):
            yield type(value).__name__
            yield from self.told(value.__func__)
        elif isinstance(value, property):
            yield "property"
            yield from self._all((value.fget, value.fset, value.fdel))
        elif isinstance(value, functools.partial):
            yield "partial"
            yield from self._all((value.func, value.args, value.keywords))
        elif isinstance(value, types.CellType):
            yield from self.told(value.cell_contents) if _filled(value) else ("empty",)
        elif isinstance(value, types.BuiltinFunctionType | types.WrapperDescriptorType | types.MethodDescriptorType):
            yield f"builtin {getattr(value, '__module__', '')}.{value.__qualname__}"
        elif isinstance(value, Mapping) and type(value).__module__ in ("builtins", "collections", "types"):
            yield f"{type(value).__name__} {len(value)}"
            if not (self.brief and len(value) > LONGEST):
                for key, inner in value.items():
                    yield from self._all((key, inner))
        elif isinstance(value, Set):
            yield f"set {len(value)}"
            if not (self.brief and len(value) > LONGEST):
                yield from sorted(repr(list(_Walk(self.tensors, self.brief).told(inner))) for inner in value)
        elif isinstance(value, list | tuple):
            yield f"{_name(type(value))} {len(value)}"
            if not (self.brief and len(value) > LONGEST):
                yield from self._all(value)
        else:
            yield from self._object(value)

    def _all(self, values: Any) -> Iterator[str | bytes]:
        for value in values:
            yield from self.told(value)

    def _object(self, value: Any) -> Iterator[str | bytes]:
        if "torch" in sys.modules:
            if isinstance(value, torch.Tensor):
                yield from self._tensor(value)
                return
            if isinstance(value, torch.dtype | torch.device | torch.memory_format | torch.layout):
                yield repr(value)
                return
            if isinstance(value, torch.nn.Module):
                yield from self._network(value)
                return
        if "numpy" in sys.modules and isinstance(value, numpy.ndarray | numpy.generic):
            yield f"array {value.dtype} {value.shape}"
            if self.tensors:
                yield from self.told(value.tolist()) if value.dtype.hasobject else (value.tobytes(),)
            return
        state = _state(value)
        if state is None:
            self.unknown.append(type(value).__name__)
            yield f"unknown {_name(type(value))} {uuid.uuid4() if self.unique else ''}"
            return
        yield "object"
        yield from self.told(type(value))
        yield from self.told(state)

    def _tensor(self, value: Any) -> Iterator[str | bytes]:
        yield f"tensor {value.dtype} {tuple(value.shape)} {value.layout} {value.requires_grad}"
        if self.tensors and not value.is_meta:
            plain = value.detach().cpu()
            plain = (plain if plain.layout is torch.strided else plain.to_dense()).resolve_conj().resolve_neg()
            yield plain.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if plain.numel() else b""

    def _network(self, value: Any) -> Iterator[str | bytes]:
        yield "network"
        yield from self.told(type(value))
        for name, inner in sorted(vars(value).items()):
            if name in _OF_NETWORKS:
                continue
            if "_hooks" in name and isinstance(inner, Mapping):  # by numbers that count all hooks of the process
                yield from (name, *self._all(inner.values())) if inner else ()
            else:
                yield name
                yield from self.told(inner)

    def _class(self, value: type) -> Iterator[str | bytes]:
        if _installed(value.__module__):
            yield f"class {_name(value)}"
            return
        yield f"class {value.__name__}"
        yield from self._all(value.__bases__)
        for name, inner in sorted(vars(value).items()):
            if name not in _OF_CLASSES and not isinstance(
                inner, types.GetSetDescriptorType | types.MemberDescriptorType
            ):
                yield name
                yield from self.told(inner)

    def _function(self, value: types.FunctionType) -> Iterator[str | bytes]:
        if _installed(value.__module__ or ""):
            yield f"function {value.__module__}.{value.__qualname__}"
            return
        yield "function"
        yield from self._code(value.__code__)
        yield from self._all((value.__defaults__, value.__kwdefaults__, value.__closure__))
        for name in sorted(_globals(value.__code__)):
            if name in value.__globals__:
                used = value.__globals__[name]
                yield name
                yield from self.told(used)
                if isinstance(used, types.ModuleType) and not _installed(used.__name__):
                    yield from self._attributes(used, value.__code__)

    def _attributes(self, module: types.ModuleType, code: types.CodeType) -> Iterator[str | bytes]:
        """What code may use of a module of one's own: the attributes that it names."""
        for name in sorted({name for inner in _codes(code) for name in inner.co_names}):
            if name in vars(module):
                yield name
                yield from self.told(vars(module)[name])

    def _code(self, code: types.CodeType) -> Iterator[str | bytes]:
        yield f"code {code.co_argcount} {code.co_posonlyargcount} {code.co_kwonlyargcount} {code.co_flags}"
        yield code.co_code
        yield getattr(code, "co_exceptiontable", b"")
        yield repr((code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars))
        for constant in code.co_consts[_documented(code) :]:
            # in full: texts in code are not state
            yield from self._code(constant) if isinstance(constant, types.CodeType) else (_constant(constant),)


def _constant(value: Any) -> str:
    """A constant of code; sets have no order."""
    if isinstance(value, frozenset):
        return f"frozenset {sorted(map(_constant, value))}"
    if isinstance(value, tuple):
        return f"tuple {list(map(_constant, value))}"
    return f"{type(value).__name__} {value!r}"


def _documented(code: types.CodeType) -> bool:
    """Whether the first constant may be a docstring, which does nothing."""
    return bool(code.co_consts) and isinstance(code.co_consts[0], str) and not _loads_first(code)


def _loads_first(code: types.CodeType) -> bool:
    return any(one.opname == "LOAD_CONST" and one.arg == 0 for one in dis.get_instructions(code))


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """Code and the functions, lambdas and comprehensions in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


def _globals(code: types.CodeType) -> set[str]:
    """The names that code looks up outside functions."""
    found = (one for inner in _codes(code) for one in dis.get_instructions(inner))
    return {str(one.argval) for one in found if one.opname in ("LOAD_GLOBAL", "LOAD_NAME")}


def _filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018 (reading it is the question)
    except ValueError:
        return False
    return True


def _state(value: Any) -> Any:
    """What an object holds; None where nobody can look into it."""
    own: Any = type(value).__reduce_ex__
    if own is object.__reduce_ex__ and hasattr(value, "__dict__"):
        slots = copyreg._slotnames(type(value))  # type: ignore[attr-defined]  # as pickle asks for them
        return [sorted(vars(value).items()), [(name, getattr(value, name)) for name in slots if hasattr(value, name)]]
    try:
        made = value.__reduce_ex__(2)
    except Exception:  # it says that it cannot be copied, in its own way
        return None
    if isinstance(made, str):
        return made
    return [*made[:3], *(list(each) if each is not None else None for each in made[3:5])]


def _name(value: type) -> str:
    return f"{value.__module__}.{value.__qualname__}"


@functools.cache
def _installed(module: str) -> bool:
    """Whether a module is of Python, of an installed package or of this one."""
    top = module.partition(".")[0]
    if top == "__main__":  # a notebook or console: the program itself, whatever started it
        return False
    if top in ("builtins", "recipelang") or top in sys.builtin_module_names or top in sys.stdlib_module_names:
        return True
    file = getattr(sys.modules.get(module) or sys.modules.get(top), "__file__", None)
    if file is None:
        return False
    parts = Path(file).parts
    standard = (sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib"))
    if "site-packages" in parts or "dist-packages" in parts or any(Path(file).is_relative_to(s) for s in standard):
        return True
    start = Path(getattr(sys.modules.get(top), "__file__", None) or file)
    return top in put_there(start.parents[1] if start.name == "__init__.py" else start.parent)
