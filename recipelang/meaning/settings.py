"""Calls become methods: `sgd(lr=0.1)` is matched against the settings of `sgd` and built."""

from __future__ import annotations

import dataclasses
from typing import Any

from recipelang.catalogue import Setting, names, settings
from recipelang.errors import SettingError, Span, did_you_mean
from recipelang.meaning import values
from recipelang.meaning.diagnostics import Refuse
from recipelang.meaning.lookup import lookup
from recipelang.meaning.wording import KINDS, listing
from recipelang.syntax import nodes

Placed = dict[str, tuple[Any, Span]]  # setting → value or node, and its place


def bind(
    call: nodes.Call, cls: type, refuse: Refuse, pattern: nodes.Pattern | None = None, task: str = ""
) -> Any | None:
    """The method that a call asks for, built with its settings.

    Args:
        call: the call; a dotted rest goes to the setting that is `dotted`.
        cls: the class of the method.
        refuse: notes RCP0301 … RCP0308 and RCP0204.
        pattern: numbers after the call (`nm 2:4`); they fill its first integer settings in order.
        task: name of the recipe's task, for methods with defaults of their own for each task (`for_task`).

    Returns:
        the method, or None where something was noted.
    """
    return _Binding(call, cls, refuse).build(pattern, task)


class _Binding:
    """One call on its way to a method; records whether anything was refused."""

    def __init__(self, call: nodes.Call, cls: type, refuse: Refuse) -> None:
        self.call, self.cls = call, cls
        self.name: str = cls.name  # type: ignore[attr-defined]
        self.settings = {s.name: s for s in settings(cls)}
        self.refused = False
        self._refuse = refuse

    def refuse(self, code: str, message: str, span: Span | None, help: str = "") -> None:
        self.refused = True
        self._refuse(code, message, span, help)

    def build(self, pattern: nodes.Pattern | None, task: str) -> Any | None:
        given: Placed = {}
        extra: dict[str, Any] = {}
        self.take_path(given)
        if pattern:
            self.take_pattern(pattern, given)
        for argument in self.call.arguments:
            self.take(argument, given, extra)
        for s in self.settings.values():
            if s.default is dataclasses.MISSING and s.name not in given and not s.extra:
                self.refuse("RCP0304", f"`{self.name}` needs `{s.name}`", self.call.span, self.example(s))
        if self.refused:
            return None
        rest = {s.name: tuple(extra.items()) for s in self.settings.values() if s.extra and extra}
        try:
            made = self.cls(**{name: value for name, (value, _) in given.items()}, **rest)
            return made.for_task(task) if task and hasattr(made, "for_task") else made
        except SettingError as error:
            span = given[error.field][1] if error.field in given else self.call.span
            self.refuse("RCP0307", str(error), span, error.help)
            return None

    def take_path(self, given: Placed) -> None:
        """`torchvision.resnet18`: the rest of the dotted name is a setting."""
        dotted = next((s for s in self.settings.values() if s.dotted), None)
        if dotted and len(self.call.path) > 1:
            rest = self.call.path[1:]
            given[dotted.name] = ".".join(part.text for part in rest), rest[0].span.to(rest[-1].span)

    def take_pattern(self, pattern: nodes.Pattern, given: Placed) -> None:
        """`nm 2:4`: the numbers go to the first integer settings."""
        whole = [s for s in self.settings.values() if s.type == "integer"]
        separator = getattr(self.cls, "separator", pattern.separator)
        if separator != pattern.separator and len(pattern.numbers) == 2:
            right = f"{self.name} {separator.join(map(str, pattern.numbers))}"
            self.refuse("RCP0306", f"`{self.name}` does not take a ratio", pattern.span, f"write `{right}`")
            return
        if len(whole) < len(pattern.numbers):
            self.refuse("RCP0306", f"`{self.name}` takes no numbers like these", pattern.span, self.known())
            return
        for s, number in zip(whole, pattern.numbers, strict=False):
            if values.in_range(s, self.name, number, pattern.span, self.refuse):
                given[s.name] = number, pattern.span

    def take(self, argument: nodes.Argument, given: Placed, extra: dict[str, Any]) -> None:
        """One argument in the parentheses: find its setting, then its value."""
        span = argument.name.span if argument.name else argument.value.span
        s = self.setting_of(argument)
        if s is None and argument.name and any(e.extra for e in self.settings.values()):
            anything = Setting(argument.name.text, "any", None)
            value = values.read(anything, argument.value, self.name, self.refuse)
            if argument.name.text in extra:
                self.refuse("RCP0305", f"`{argument.name.text}` appears twice", span, "keep one of the two")
            extra[argument.name.text] = value
        elif s is None:
            self.unknown(argument)
        elif s.several:
            before = given[s.name][0] if s.name in given else ()
            given[s.name] = (*before, self.value_of(s, argument.value)), self.call.span
        elif s.name in given:
            self.refuse("RCP0305", f"`{s.name}` of `{self.name}` appears twice", span, "keep one of the two")
        else:
            value = self.value_of(s, argument.value)
            given[s.name] = value, argument.value.span

    def setting_of(self, argument: nodes.Argument) -> Setting | None:
        """The setting that an argument is for; None where there is none."""
        if argument.name is None:
            return next((s for s in self.settings.values() if s.positional), None)
        found = self.settings.get(argument.name.text)
        return None if found is not None and found.extra else found

    def unknown(self, argument: nodes.Argument) -> None:
        if argument.name is None:
            first = next((s for s in self.settings if not self.settings[s].dotted), None)
            message = f"a setting of `{self.name}` needs its name"
            help = f"write `{self.name}({first}=…)`" if first else f"write `{self.name}`: it has no settings"
            self.refuse("RCP0306", message, argument.span, help)
            return
        guess = did_you_mean(argument.name.text, self.settings)
        message = f"`{self.name}` has no setting `{argument.name.text}`"
        self.refuse("RCP0204", message, argument.name.span, guess + self.known())

    def known(self) -> str:
        """The help line that lists the settings."""
        named = [s.name for s in self.settings.values() if not (s.dotted or s.extra)]
        return f"settings: {listing(named)}" if named else f"`{self.name}` has no settings"

    def example(self, s: Setting) -> str:
        """How a missing setting is written."""
        if s.dotted:
            return f"write `{self.name}.NAME`"
        shown = ", ".join(names(s.kind)[:2]) if s.several else values.EXAMPLES.get(s.type, "…")
        return f"write `{self.name}({shown if s.positional else f'{s.name}={shown}'})`"

    def value_of(self, s: Setting, node: Any) -> Any | None:
        """The value of a setting, which may be a method itself: `lr=cosine(1e-3, to=0)`."""
        if s.type != "method" and not (s.ramp and isinstance(node, nodes.Call)):
            return values.read(s, node, self.name, self.refuse)
        kind = s.kind or "ramp"
        if not isinstance(node, nodes.Call):
            values.mismatch(s, node, self.name, self.refuse, KINDS[kind].one)
            return None
        found = lookup(node, (kind,), f"`{s.name}` of `{self.name}`", self.refuse)
        return bind(node, found[1], self.refuse) if found else None
