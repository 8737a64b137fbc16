"""`model given("Net")`: a network of the program that calls; only from Python and in notebooks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipelang import given as objects
from recipelang.catalogue import method, setting
from recipelang.errors import Refusal
from recipelang.kinds import ModelRequest


@method("model", "given")
@dataclass(frozen=True)
class Given:
    """The network that a program gives: `recipelang.run(recipe, model=net)`, or `model $net` in a notebook.

    It is an nn.Module, which is never changed, or a function that builds one, which is called under the seed that
    holds there. The recipe of such a run says `given("Net", content="…")`, which the program writes and nobody needs
    to. Wrappers (DataParallel, `torch.compile`) are removed; weights in half precision are converted to float32.

    When it misleads: what decides that a step is known from an earlier run is the code of the network's classes, with
    everything of one's own that it uses, and its weights and attributes; files that it reads do not count. The artifact
    of such a network holds no code: `recipelang.load(folder, model=Net())` gives it; `export pt2` is self-contained.
    Source: the program.
    """

    of: str = setting(type="text", positional=True, hashed=False, help="What it is called: its class, or the variable.")
    content: str = setting("", type="text", help="Digest of its code and weights.")
    classes: int | None = setting(None, type="integer", low=2, help="Number of outputs; default that of the data.")
    answers: tuple[float, ...] = setting((), type="any", hashed=False, help="In artifacts: how it is known again.")

    @property
    def pretrained(self) -> bool:
        """Whether the network comes with its weights; one that a function builds has random ones."""
        given = objects.found(self.content)
        return given is None or not given.builds

    def files(self, resolve: Callable[[str], Path]) -> tuple[Path, ...]:
        """None: its content is in the recipe."""
        return ()

    def build(self, request: ModelRequest) -> Any:
        """The network; see `kinds.ModelMethod`.

        Raises:
            Refusal: RCP0922: the program that has it is not the one that asks; RCP0712, RCP0713 and RCP0721 to RCP0724:
                it is not a network that can be worked on; RCP0923: new random weights cannot be drawn.
        """
        from recipelang.methods.models.python import own_inputs, own_shape
        from recipelang.surgery.assembly import assemble
        from recipelang.surgery.given_network import built, drawn_again, require_alike, signature
        from recipelang.surgery.tracing import example_input

        given = objects.found(self.content)
        if given is None:
            raise Refusal(
                "RCP0922",
                f"the network `{self.of}` belongs to a program of Python, which has to give it",
                "call `recipelang.run(…, model=net)`, or `recipelang.load(folder, model=net)` for a saved network",
            )
        module = built(given)
        if request.redrawn and not given.builds:
            drawn_again(module)
        shape = request.input_shape or own_shape(module, f"`{self.of}`")
        try:
            network = assemble(
                module,
                request,
                model="given",
                settings={"of": self.of, "content": self.content},
                files={self.of: given.code},
                notes=given.notes,
                input_shape=shape,
                inputs=own_inputs(module),
                classes=self.classes,
                pretrained=not given.builds,
            )
        except Refusal as refusal:
            raise _of_program(refusal, len(request.classes or ())) from refusal
        answers = given.opened.get(self.answers)
        if answers is None:
            given.opened[self.answers] = answers = signature(network.module, example_input(network))
            require_alike(self.of, self.answers, answers)
        network.source["settings"]["answers"] = list(self.answers) or answers
        return network


def _of_program(refusal: Refusal, classes: int) -> Refusal:
    """A refusal of numbers of classes as a program can act on it: it has no `classes=` to write.

    Args:
        classes: of the data; 0 where there is none.
    """
    if refusal.code not in ("RCP0708", "RCP0713") or "`classes=" not in refusal.help:
        return refusal
    count = classes or "N"
    layer = f"`net.fc = torch.nn.Linear(net.fc.in_features, {count})`"
    help = f"give the network one output per class, as in {layer}; or give a function that builds it, without arguments"
    return Refusal(refusal.code, refusal.message, f"{help}: its weights are new, and so is its head of {count} outputs")
