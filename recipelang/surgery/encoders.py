"""Text networks of transformers as networks of ids alone: what fills up a text is left out by its id."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from recipelang.errors import Refusal
from recipelang.kinds import Inputs

AUTO = "AutoModelForSequenceClassification"
TEXTS = (AUTO, "a text classifier")
#: how the classes of transformers end that classify texts
ENDING = "ForSequenceClassification"
#: tokens of an input where neither data nor network says how many
USUAL_LENGTH = 128


class _OfIds:
    """A base class for a network of transformers: ids B×tokens → scores B×classes.

    A class rather than a module around it: weights keep their names, and `torch.export` and deep copies keep it.
    """

    _recipelang_padding: ClassVar[int | None]

    def forward(self, ids: Tensor) -> Tensor:
        padding = self._recipelang_padding
        mask = None if padding is None else (ids != padding).long()
        scores: Tensor = super().forward(input_ids=ids, attention_mask=mask).logits  # type: ignore[misc]
        return scores


def classifies_texts(config: Any) -> bool:
    """Whether a `config.json` says that the network classifies texts."""
    named = config.get("architectures")
    return isinstance(named, list) and any(str(name).endswith(ENDING) for name in named)


def of_ids(module: nn.Module, inputs: Inputs, where: str) -> Inputs:
    """Make a network of transformers take ids alone, in place.

    Args:
        module: a text classifier.
        inputs: of the data; floating point where there is none, and the network's own numbers are taken.
        where: its name, for messages.

    Returns:
        what its inputs are.

    Raises:
        Refusal: RCP0782: the data has more ids, or fills up texts with another one than the network leaves out.
    """
    config: Any = module.config
    embedded = module.get_input_embeddings().num_embeddings  # type: ignore[operator]
    own = config.pad_token_id
    if inputs.ids is None:
        inputs = Inputs(embedded, own)
    if inputs.ids is not None and inputs.ids > embedded:
        message = f"the data has {inputs.ids:,} ids, and `{where}` has embeddings for {embedded:,}"
        raise Refusal("RCP0782", message, f'use the tokenizer of the network: `tokenizer="{where}"`')
    if own is not None and inputs.padding not in (None, own):
        message = f"the data fills up texts with the id {inputs.padding}, and `{where}` leaves out the id {own}"
        raise Refusal("RCP0782", message, f'use the tokenizer of the network: `tokenizer="{where}"`')
    padding = own if inputs.padding is None else inputs.padding
    config.pad_token_id = padding  # a decoder's head reads the last id that is not it
    attributes = {"_recipelang_padding": padding, "__module__": type(module).__module__}
    module.__class__ = type(type(module).__name__, (_OfIds, type(module)), attributes)
    return Inputs(inputs.ids, padding)


def require_places(module: nn.Module, length: int, where: str) -> None:
    """Refuse texts that are longer than what a network has places for.

    Raises:
        Refusal: RCP0782.
    """
    most = places(module)
    if most is not None and length > most:
        message = f"texts have {length} tokens, and `{where}` has places for {most}"
        raise Refusal("RCP0782", message, f"write `length={most}`, or less")


def places(module: nn.Module) -> int | None:
    """How many tokens a network has places for; None where its configuration does not say."""
    config: Any = module.config
    most = getattr(config, "max_position_embeddings", None)
    if not isinstance(most, int):
        return None
    kept = next((e.padding_idx for n, e in module.named_modules() if n.endswith("position_embeddings")), None)
    return most - kept - 1 if isinstance(kept, int) and "roberta" in str(config.model_type) else most
