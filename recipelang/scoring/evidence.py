"""The evidence for criteria, gathered from a network and its data when a criterion first asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cached_property, partial
from typing import Any

from torch import Tensor

from recipelang.errors import Refusal
from recipelang.kinds import Ablation, Batch, Edit, Gone, names_of
from recipelang.scoring import input_statistics, streams
from recipelang.scoring.ablation import ablations
from recipelang.scoring.altered import Altered
from recipelang.scoring.channels import channels_read, columns_read, rows_made
from recipelang.scoring.differentiated import Differentiated
from recipelang.scoring.effective import effective_channels
from recipelang.scoring.feature_maps import Observe, observing
from recipelang.scoring.passes import Collector
from recipelang.scoring.reconstruction import sampling_rows
from recipelang.scoring.weights import of_groups, require_known
from recipelang.surgery.edits import remove
from recipelang.surgery.head import embedding_length
from recipelang.surgery.watching import watching_layers

Observer = Callable[[str, str, Tensor, Tensor], None]


class Gathered(Altered, Differentiated):
    """Evidence (`kinds.Evidence`) about a network, each kind gathered in one pass when it is first asked for."""

    @property
    def classes(self) -> int:
        """Number of classes of the data.

        Raises:
            Refusal: RCP1014: it has none.
        """
        names = names_of(self.data)
        if names is None:
            raise Refusal(
                "RCP1014",
                f"the criterion needs classes, and the data `{self.data.name}` has none",
                "rank `by taylor` or `by magnitude`, which work on every task",
            )
        return len(names)

    @cached_property
    def embedding_length(self) -> int:
        """Number of features that enter the head.

        Raises:
            Refusal: RCP1009: the network has no head.
        """
        try:
            return embedding_length(self.module, self._example())
        except Refusal as refusal:
            help = "give the length: `imprint(embedding=64)`"
            raise Refusal("RCP1009", f"the length of this network's embedding is unknown: {refusal}", help) from refusal

    @cached_property
    def filters(self) -> Mapping[str, Tensor]:
        """Name of a weight, or of a ranked group of channels → N×K: the K numbers that make each of its N filters."""
        whole = {name: weight.detach() for name, weight in self.weights.items()}
        if self.unit == "filter":
            return of_groups(self.groups, whole, "makes")
        return {
            name: weight.movedim(self.outputs[name], 0).flatten(1) if weight.ndim > 1 else weight[None]
            for name, weight in whole.items()
        }

    @cached_property
    def effective(self) -> Mapping[str, Tensor]:
        """Ranked group of channels → N×K float64: what decides each channel, with the norms that act on it."""
        return effective_channels(self.network, self.groups) if self.unit == "filter" else {}

    def batches(self, split: str) -> Iterator[Batch]:
        """Inputs and targets on the device, in order and without augmentation.

        Raises:
            Refusal: RCP1008: the split has no samples.
        """
        return self._batches(split, f"reading {split}")

    @cached_property
    def readers(self) -> Mapping[str, Mapping[str, Tensor]]:
        """Group → weight → N×c columns that read each part."""
        return columns_read(self.groups, self.products, self._parameters) if self.unit == "filter" else {}

    @cached_property
    def makers(self) -> Mapping[str, Mapping[str, Tensor]]:
        """Group → weight → N×r rows that make each part."""
        return rows_made(self.groups, self.outputs) if self.unit == "filter" else {}

    def feature_maps(self, observe: Observe, *, gradients: bool = False, shaped: bool = False) -> None:
        """`observe(name, maps, gradients, targets)` where groups are read, or weights make; one pass.

        Raises:
            Refusal: RCP1005: the loss is NaN or infinite. RCP1008: no training samples. RCP0732: what the weight of a
                ranked layer makes is not observed.
        """
        read = channels_read(self.groups, self.products) if self.unit == "filter" else None
        names = self._parameters if read is None else read
        require_known(self.products, self.layers, names, "feature maps")
        weights = {name: self.weights[name] for name in names}
        three = self._example(3)
        self._pass("train", observing(self.module, weights, read, observe, three, gradients, shaped))

    def ablated(self, cases: Iterable[Gone], split: str = "train") -> Iterator[Ablation]:
        """Loss and score without the parts of each case.

        Raises:
            Refusal: RCP1008: the split has no samples. RCP0755: a case leaves nothing of a group.
        """
        batches = partial(self._batches, split)
        return ablations(self.running, self.module, cases, self._edits, batches, self.task, self.data.labels)

    def _edits(self, gone: Gone) -> Sequence[Edit]:
        """Those that remove the parts of a case."""
        if self.edits is not None:
            return self.edits(gone)
        return tuple(remove(group.source) for group in self.groups if gone.get(group.name))

    @property
    def input_norms(self) -> Mapping[str, Tensor]:
        """Parameter name → ‖x‖₂ of each of its inputs over all rows of train, broadcasting against the weight.

        Raises:
            Refusal: RCP1008: no training samples. RCP1010: an input is not a finite number. RCP0732: the inputs of a
                layer's weight cannot be observed.
        """
        require_known(self.products, self.layers, self.reached, "inputs")
        return self._once("input norms", lambda: input_statistics.gathering_norms(self._parameters))

    def second_moments(self, names: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """(parameter name, 2/rows · XᵀX of its inputs, G×K×K), in order of execution.

        Raises:
            Refusal: RCP1008: no training samples. RCP1010: an input is not a finite number.
        """
        asked = set(names)
        calls = {name: count for name, count in self.reached.items() if name in asked}
        look = partial(self._pass, "train")
        return input_statistics.second_moments(self.module, self._parameters, calls, look)

    def reconstructions(self, names: Iterable[str], count: int) -> Mapping[str, tuple[Tensor, Tensor]]:
        """Parameter name → (G×n×K, n×O): rows that enter the weight, and what it makes of them; one pass.

        Raises:
            Refusal: RCP1008: no training samples. RCP1010: an input is not a finite number.
        """
        weights = {name: self._parameters[name] for name in names if name in self.reached}
        collector, after = sampling_rows(weights, count, self.seed)
        self._pass("train", collector)
        return after()

    def extremes(self, places: Iterable[str], *, channels: bool = False) -> Mapping[str, streams.Extremes]:
        """Module path, or `path:input` → its extremes over train, of each channel with `channels`; one pass for those
        that are not known yet.

        Raises:
            Refusal: RCP1008: no training samples. RCP1010: a number is not finite.
        """

        def gather(watch: streams.Watch, unknown: Sequence[str]) -> Mapping[str, streams.Extremes]:
            axes = dict.fromkeys(unknown, 1) if channels else {}
            return streams.extremes(self.module, watch, self._inputs, axes)

        return self._at(("extremes", channels), places, gather)

    def numbers(self, places: Iterable[str], count: int) -> Mapping[str, Tensor]:
        """Module path, or `path:input` → at most `count` of the numbers there over train; errors as `extremes`."""

        def gather(watch: streams.Watch, unknown: Sequence[str]) -> Mapping[str, Tensor]:
            return streams.numbers(self.module, watch, self._inputs, count, self.seed)

        return self._at(("numbers", count), places, gather)

    def _inputs(self, what: str) -> Iterator[Any]:
        return (inputs for inputs, _ in self._batches("train", what))

    def _at(self, what: Any, places: Iterable[str], gather: Callable[..., Mapping[str, Any]]) -> Mapping[str, Any]:
        """What is known of these places, gathered in one pass where it is not."""
        known, asked = self._known.setdefault(what, {}), list(places)
        if unknown := [place for place in asked if place not in known]:
            known |= gather(partial(streams.modules_watched, self.module, unknown), unknown)
        return {place: known[place] for place in asked if place in known}

    @cached_property
    def _known(self) -> dict[Any, dict[str, Any]]:
        return {}

    def watch(self, split: str, observe: Observer, places: Iterable[str] = ()) -> None:
        """One forward pass over `split`, in order and without augmentation.

        `observe(candidate, "input" | "output", activation, labels)` is called at every candidate, in order of
        execution. Activations are B×F×H×W, tokens B×F×T, vectors B×F; labels B. Where one candidate directly
        follows another, the input of the second shares memory with the output of the first. With `places`, module
        paths, it is called at those instead, with the activations as they are.

        Raises:
            Refusal: RCP1008: the split has no samples.
        """
        labels: list[Tensor] = []
        axes = {candidate.name: candidate.filters_axis for candidate in self.candidates}
        paths = list(places)

        def show(name: str, side: str, activation: Tensor) -> None:
            observe(name, side, activation.detach().movedim(axes[name], 1), labels[0])

        def see(path: str, side: str, activation: Tensor) -> None:
            observe(path, side, activation.detach(), labels[0])

        def running(batch: Batch) -> AbstractContextManager[None]:
            labels[:] = [batch.targets]
            if paths:
                return streams.sides_watched(self.module, paths, see)
            return watching_layers(self.module, self.candidates, show)

        self._pass(split, Collector(f"examining {split}", running, rounded=True))
