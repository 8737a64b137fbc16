"""What a first recipe tells at its head and its end: what was found, that little can be gained, what else to try."""

from __future__ import annotations

from recipelang.drafting import evidence
from recipelang.drafting.facts import Facts
from recipelang.units import listed, show

#: below this share of the time in layers that can go, a network has little to give
LITTLE = 0.35


def head(facts: Facts) -> tuple[str, ...]:
    """What was found about the network."""
    found, wish = facts.found, facts.wish
    flops = f", and computes {show(found.flops, 'FLOPs')} FLOPs for one input" if found.flops else ""
    lines = [f"The network has {show(found.parameters, 'params')} parameters ({show(found.size, 'B')}){flops}."]
    if found.seconds is not None:
        inputs = "one input" if wish.batch == 1 else f"{wish.batch} inputs"
        longest = listed([f"{layer} {share:.0%}" for layer, share in found.slowest])
        where = f"; longest in {longest}" if longest else ""
        lines.append(f"{inputs.capitalize()} took {show(found.seconds, 's')} in torch on {wish.device}{where}.")
    can = [f"{parts.most:,} of {parts.size:,} {unit}" for unit, parts in found.parts.items() if parts.most]
    lines.append(f"It can lose {listed(can)}." if can else "No part of it can be removed.")
    return tuple(lines)


def little(facts: Facts, units: tuple[str, ...], timed: bool) -> tuple[str, ...]:
    """That little can be gained, where that is so: of a time, by removing these units."""
    share = facts.found.removable
    if not timed or units != ("layers",) or share is None or share >= LITTLE:
        return ()
    return (
        f"Little can be gained by layers: those that can be removed take {share:.0%} of the time, so that at least "
        f"{1 - share:.2f} of it remains.",
    )


def hints(facts: Facts) -> tuple[str, ...]:
    """What is not in the recipe and may be worth a try."""
    found: list[str] = []
    if not facts.on_gpu and facts.wish.runtime == "torch":
        here = [name for name in ("onnxruntime", "openvino") if name in facts.machine.runtimes]
        slow = "" if facts.machine.multiplies else "; this CPU has no instructions for them, though"
        how = (
            f"`recipe init --runtime {here[0]}`, which is installed here"
            if here
            else '`pip install "recipelang[onnxruntime]"` and `recipe init --runtime onnxruntime`'
        )
        found.append(f"Not tried: {evidence.INTEGERS}. torch only simulates them: {how}{slow}.")
    if facts.on_gpu and not facts.machine.sparse:
        found.append("Not tried: 2:4, since this GPU has no tensor cores that skip zeros.")
    return tuple(found)
