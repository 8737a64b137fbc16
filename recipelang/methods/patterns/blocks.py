"""`sparsify blocks 4x4 to 90%`: blocks of the weight matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from recipelang.catalogue import method, setting
from recipelang.errors import SettingError
from recipelang.methods.patterns._pieces import Pieces

if TYPE_CHECKING:
    from torch import Tensor


@method("pattern", "blocks")
@dataclass(frozen=True)
class Blocks(Pieces):
    """Blocks of R outputs by C inputs are zero: the same share of every layer.

    Written `blocks RxC`, with the share of zeros after `to`: `sparsify blocks 4x4 to 90%`, `blocks 1x8`, `blocks 8x1`,
    at once or `over agp(…)`.

    What: weights that a block-sparse matrix product reads and multiplies together; the matrix of a convolution has one
        row for each output and one column for each input channel at each position of the kernel.
    Formula: block (g, h) at a position of the kernel: outputs R·g … R·g+R−1, input channels C·h … C·h+C−1; S = Σ over
        the block of the scores of its weights. Of the N blocks of a layer the ⌈share · N⌉ with the lowest S are zero,
        of equal ones the last; one always stays.
    Shapes: scores O×I or O×I×kh×kw → mask of the same shape; O a multiple of R, I of C.
    When it misleads: no kernel here skips blocks, so they save no time. Nothing is padded: layers whose outputs or
    input channels are not a multiple of R or C stay dense, such as a first convolution with 3 input channels, and so do
    convolutions in groups; the report names them.
    Source: Narang, Undersander, Diamos 2017, "Block-sparse recurrent neural networks"; Gray, Radford, Kingma 2017, "GPU
        kernels for block-sparse weights".
    """

    piece: ClassVar[str] = "block"
    grouped: ClassVar[bool] = False
    across: ClassVar[bool] = True
    separator: ClassVar[str] = "x"

    rows: int = setting(4, type="integer", low=1, help="Outputs of a block.")
    columns: int = setting(4, type="integer", low=1, help="Input channels of a block.")

    def __post_init__(self) -> None:
        if self.rows == self.columns == 1:
            raise SettingError("rows", "blocks of 1x1 are single weights", "write `weights`, or larger blocks")

    def __str__(self) -> str:
        return f"{super().__str__()} {self.rows}x{self.columns}"

    def refuses(self, weight: Tensor) -> str | None:
        """Why this weight cannot be divided into blocks; None if it can."""
        from recipelang.surgery.blocks import why_no_blocks

        return why_no_blocks(weight, self.rows, self.columns)

    def split(self, weight: Tensor) -> Tensor:
        """(O/R · I/C · kh·kw)×(R·C)."""
        from recipelang.surgery.blocks import blocks_of

        return blocks_of(weight, self.rows, self.columns)

    def joined(self, pieces: Tensor, weight: Tensor) -> Tensor:
        """The inverse of `split`."""
        from recipelang.surgery.blocks import from_blocks

        return from_blocks(pieces, weight, self.rows, self.columns)
