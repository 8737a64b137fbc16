"""The loss `minilm`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from recipelang.catalogue import method, setting
from recipelang.errors import Refusal, SettingError
from recipelang.kinds import SEVERAL, Attention, Loss, Moment, Pairing, Point, Points, Seen, Task
from recipelang.lazy import difflib, torch
from recipelang.methods.losses._positions import names, require_pairs

if TYPE_CHECKING:
    from torch import Tensor, nn

#: scores below this have no weight in a softmax, and −∞ no difference
HIDDEN = -1e4


@method("loss", "minilm")
@dataclass(frozen=True)
class MiniLm(Loss):
    """MiniLM: the last self-attention relates tokens as the teacher's does, by attention and by values.

    What: compares distributions over tokens, so that widths and depths may differ, and classes.
    Formula: α · KL(A_t ‖ A_s) + β · KL(R_t ‖ R_s), the mean over heads, tokens and images, A = softmax(QKᵀ/√d) and
    R = softmax(VVᵀ/√d) of queries, keys and values of d channels a head. Where the numbers of heads differ, or
    `heads` is given, the heads are joined and divided again into as many of both (MiniLMv2). Several teachers: the mean
    over them.
    Shapes: queries, keys and values B×heads×tokens×d of student and teachers → scalar.
    Positions: the last self-attention of all networks, by `nn.MultiheadAttention`, `scaled_dot_product_attention`, or
    products and a softmax; `plan` shows it. Both need the same tokens; masks of padding are kept.
    When it misleads: it trains nothing above the last attention, and is added to a loss that does; attention in windows
    does not cover all tokens, and is not found.
    Source: Wang et al. 2020, MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained
    Transformers, the transfer of attention distributions and of value relations; relation heads: Wang et al. 2021,
    MiniLMv2.
    """

    teachers: ClassVar[tuple[int, int]] = (1, SEVERAL)
    complete: ClassVar[bool] = False
    attends: ClassVar[bool] = True

    alpha: float = setting(1.0, type="number", low=0, help="Weight of the attention.")
    beta: float = setting(1.0, type="number", low=0, help="Weight of the relations of values.")
    heads: int | None = setting(
        None,
        type="integer",
        low=1,
        help="Relation heads of both networks; default the teacher's heads, or as many as divide both widths.",
    )
    student: str = setting("", type="text", help="The module whose attention is compared; default the last.")
    teacher: str = setting("", type="text", help="That of every teacher; default the last.")

    def __post_init__(self) -> None:
        require_pairs(self.student, self.teacher, "minilm")
        if not self.alpha and not self.beta:
            raise SettingError("beta", "both weights of `minilm` are 0", "write `minilm(alpha=1, beta=1)`")

    def points(self, student: Points, teachers: tuple[Points, ...]) -> tuple[Pairing, ...]:
        """The last attention of all networks, or those that are named."""
        every = (student, *teachers)
        for points in every:
            if not points.attention:
                raise Refusal(
                    "RCP1511",
                    f"`minilm` compares self-attention, and {points.whose} computes none over all of its tokens",
                    "use transformers for both, or a loss that compares activations, as `at` or `fitnet`",
                )
        mine = [_named(student, name) for name in names(self.student)] or [student.attention[-1]]
        pairings = []
        for number, point in enumerate(mine):
            of = names(self.teacher) or names(self.student)
            others = tuple(_named(points, of[number]) if of else points.attention[-1] for points in teachers)
            for other, points in zip(others, teachers, strict=True):
                if why := self._why_not(point, other):
                    pair = f"{point} of {student.whose} cannot be compared with {other} of {points.whose}"
                    raise Refusal("RCP0823", f"{pair}: {why}", "use a teacher of the same tokens, or other `heads`")
            pairings.append(Pairing(point, others))
        return tuple(pairings)

    def _why_not(self, mine: Point, theirs: Point) -> str:
        if mine.shape[1] != theirs.shape[1]:
            return f"they have {mine.shape[1]} and {theirs.shape[1]} tokens"
        if self.heads is None:
            return ""
        odd = next((point for point in (mine, theirs) if point.shape[0] * point.shape[2] % self.heads), None)
        return f"{odd.shape[0] * odd.shape[2]} channels are not {self.heads} heads of equal width" if odd else ""

    def __call__(
        self,
        student: Seen,
        teachers: tuple[Seen, ...],
        targets: Any,
        task: Task,
        parts: nn.Module | None,
        moment: Moment,
    ) -> Tensor:
        """Attention of student and teachers → scalar."""
        distances = [
            self._apart(mine, theirs)
            for teacher in teachers
            for mine, theirs in zip(student.features, teacher.features, strict=True)
        ]
        return torch.stack(distances).sum() / len(teachers)

    def _apart(self, mine: Attention, theirs: Attention) -> Tensor:
        heads = self.heads or common(mine, theirs)
        one, two = (relations(attention, heads) for attention in (mine, theirs))
        return self.alpha * divergence(two[0], one[0]) + self.beta * divergence(two[1], one[1])


def _named(points: Points, name: str) -> Point:
    known = {point.path: point for point in points.attention}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or list(known)[-3:]
    listed = ", ".join(f"`{path}`" for path in near)
    raise Refusal("RCP0822", f"`{name}` of {points.whose} computes no self-attention", f"nearest: {listed}")


def common(mine: Attention, theirs: Attention) -> int:
    """How many heads both are divided into: as many as they have, or the most that divide both widths evenly."""
    counts = [attention.values.shape[1] for attention in (mine, theirs)]
    if counts[0] == counts[1]:
        return counts[0]
    widths = [attention.values.shape[1] * attention.values.shape[3] for attention in (mine, theirs)]
    shared = math.gcd(*widths)
    return max(n for n in range(1, max(counts) + 1) if shared % n == 0)


def relations(attention: Attention, heads: int) -> tuple[Tensor, Tensor]:
    """The logarithms of how tokens weigh each other, by attention and by values, B×heads×tokens×tokens each."""
    q, k, v = (divided(part, heads) for part in (attention.queries, attention.keys, attention.values))
    before, width = attention.queries.shape[3], v.shape[3]
    found = []
    for scores in (q @ k.mT * attention.scale * math.sqrt(before / q.shape[3]), v @ v.mT / math.sqrt(width)):
        mask = attention.mask
        if mask is not None and mask.ndim == 4 and mask.shape[1] not in (1, heads):
            mask = mask.amax(1, keepdim=True)  # by head: a token is seen where any head sees it
        found.append((scores if mask is None else scores + mask.clamp_min(HIDDEN)).log_softmax(-1))
    return found[0], found[1]


def divided(part: Tensor, heads: int) -> Tensor:
    """B×H×T×D → B×heads×T×(H·D/heads)."""
    if part.shape[1] == heads:
        return part
    return part.transpose(1, 2).flatten(2).unflatten(2, (heads, -1)).transpose(1, 2)


def divergence(teacher: Tensor, student: Tensor) -> Tensor:
    """Logarithms of distributions over the last axis → the mean of KL(teacher ‖ student)."""
    return (teacher.exp() * (teacher - student)).sum(-1).mean()
