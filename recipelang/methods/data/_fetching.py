"""How a sample of a user's data set is read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from recipelang.errors import Refusal

if TYPE_CHECKING:
    from recipelang.images.looking import Fetch
    from recipelang.images.samples import Refuse


def fetching(invalid: Refuse) -> Fetch:
    """A function that reads a sample, with random numbers that follow from a number; what the data set raises is
    refused.

    Args:
        invalid: makes the refusal.
    """
    from recipelang.surgery.chance import random_numbers
    from recipelang.surgery.tracing import first_line

    def fetch(whole: Any, index: int, number: int) -> Any:
        try:
            with random_numbers(number & 0x7FFF_FFFF):
                return whole[index]
        except (Refusal, KeyboardInterrupt):
            raise
        except BaseException as error:  # the user's code may raise anything
            message = f"sample {index} cannot be read: {type(error).__name__}: {first_line(error)}"
            raise invalid(message, "fix `__getitem__`; every index below the length must work") from error

    return fetch
