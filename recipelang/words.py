"""Words of the language that are neither verbs, methods, clauses nor units, with what `recipe explain` says of them."""

from __future__ import annotations

from recipelang.meaning.wording import listing

#: words of the grammar, and of single verbs
LANGUAGE = {
    "let": "Gives a value a name: `let tune = sgd(lr=1e-3)`, used as `$tune`. The value may be changed from the "
    "command line: `recipe run FILE --set tune='adam(lr=1e-4)'`.",
    "and": "Joins conditions that must all hold: `latency < 0.7 and size < 10MB`. It binds more tightly than `or`.",
    "or": "Joins conditions of which one must hold: `latency < 0.7 or size < 10MB`. Parentheses "
    "group: `(a or b) and c`.",
    "first": "In `in` and `except`, the first layer with weights; in `choose first`, the first variant that meets "
    "every `expect` above.",
    "last": "In `in` and `except`, the last layer with weights: `except last`.",
    "type": "In `in` and `except`, every module of a class, by its name in torch: `except type(Linear)`.",
    "scratch": "In `train from scratch`: random weights in the current architecture. `scratch(equal=flops)` trains as "
    "many epochs as `healthy` could be trained with the same FLOPs.",
    "equal": "In `train from scratch(equal=flops)`: the training may spend the FLOPs that `healthy` would.",
    "recovery": "In `no recovery`: a removal that is followed by `sparsify` gets no implied `finetune`, although "
    "`recovered` is named later.",
    "biases": "In `absorb biases`: what of each channel is above zero goes into the biases of the next layer.",
    "activations": "In `quantize weights, activations to 8 bits`: what products and sums read, and not only weights.",
    "nothing": "In `distill from healthy on nothing`: no data; images are made from the statistics of the first "
    "teacher's BatchNorm, as the source `deepinversion` says.",
    "true": "A setting is switched on: `safetensors(packed=true)`.",
    "false": "A setting is switched off: `safetensors(packed=false)`.",
}
STATES = {
    "healthy": "The network before the first step that compresses; every variant shares it.",
    "recovered": "The network as it was when the last hardware restriction "
    f"({listing(('sparsify nm', 'quantize'))}) began.",
    "current": "The network as it is now.",
}
SPLITS = {
    "train": "The images that training and most criteria use: `on train(samples=512)` is part of them.",
    "val": "The images that decide: `until`, `while` and `choose` read them.",
    "test": "The images of the verdict: `measure`, `expect` and reports read them, and nothing else does.",
}
#: what follows a metric, or what a bare number beside it means
FORMS = {
    "drop": "How far a quality in which higher is better has fallen, in its own points: `top1 drop < 1%` allows 90 % "
    "to become 89 %. It is counted from `healthy`; `drop(from=control)` counts from the control.",
    "rise": "How far a quality in which lower is better has risen, in its own unit. It is counted from `healthy`; "
    "`rise(from=control)` counts from the control.",
    "ratio": "A cost against a bare number or a percentage is a ratio to `healthy`: `latency < 0.7` and `latency < "
    "70%` ask for 70 % of its latency. With a unit it is absolute: `latency < 12ms`. There is no word "
    "`ratio` in a recipe.",
}
_COMPARED = (
    "A cost compared with a bare number is a ratio to `healthy`, with a unit it is absolute. `until` asks for it, "
    "`while` keeps it, `expect` judges it."
)
#: signs of the grammar, by the words that one would type; brackets are explained as pairs, too
SIGNS = {
    "<": f"Compares a metric with a bound that it must stay below: `latency < 0.7`. {_COMPARED}",
    "<=": f"Compares a metric with a bound that it may reach and not exceed: `params <= 5M`. {_COMPARED}",
    ">": f"Compares a metric with a bound that it must exceed: `top1 > 92%`. {_COMPARED}",
    ">=": f"Compares a metric with a bound that it must reach: `throughput >= 500/s`. {_COMPARED}",
    "==": f"Compares a metric with a number that it must equal: `sparsity == 50%`. {_COMPARED}",
    "=": "Gives a setting or a name its value: `sgd(lr=0.1)`, `let tune = adam`. It compares nothing: budgets use `<`.",
    "+": "Adds losses: `0.7 * kd(T=4) + 0.3 * task`. There is no other arithmetic in a recipe.",
    "*": 'Gives a loss a weight: `0.7 * kd`. In a quoted selector it stands for any characters: `in "layer3.*"`.',
    ".": "Before a metric, whose it is: `pruned.top1`; in a model, the network of a library: `torchvision.resnet18`.",
    ",": "Separates items of a clause, settings, and items of a list: `measure top1, latency`. Clauses are not "
    "separated by commas.",
    ";": "Ends a statement, as the end of the line does: `sparsify nm 2:4; distill from healthy`.",
    "#": "Begins a comment, up to the end of the line. `recipe fmt` keeps comments.",
    "$": "Stands before the name of a `let`, or of the variable of a `sweep`, where its value is meant: `with $tune`.",
    '"': 'Encloses text: paths, selectors, names of weights: `"layer3.*"`. It ends on the same line.',
    ":": "Between two whole numbers, a pattern: `2:4`, two of four weights are kept.",
    "..": "Between two whole numbers, all of them, both ends included: `seeds 0..4`.",
    "( )": "After a name, its settings: `sgd(lr=0.1)`; in conditions, a group: `(a or b) and c`. Line ends inside do "
    "not count.",
    "[ ]": "A list: `split=[80%, 10%, 10%]`. Line ends inside do not count.",
    "{ }": "A block of statements: of `variant NAME { … }`, `sweep … { … }`, `repeat … { … }`.",
}
BRACKETS = {sign: pair for pair in ("( )", "[ ]", "{ }") for sign in (*pair.split(), pair.replace(" ", ""))}
#: what is written and is not a word: terminal of the grammar → (name, text)
LITERALS = {
    "NUMBER": (
        "number",
        "A whole or decimal number, with its unit as part of it: `0.7`, `1e-3`, `70%`, `12ms`, `3 epochs`. There "
        "are no negative numbers.",
    ),
    "PATTERN": (
        "pattern 2:4",
        "`2:4` keeps two of every four weights (`sparsify nm 2:4`); `4x4` is a block of outputs by inputs (`sparsify "
        "blocks 4x4`).",
    ),
    "RANGE": ("range", "`0..4` is 0, 1, 2, 3 and 4: `seeds 0..4`, `sweep n in 1..3 { … }`."),
    "STRING": (
        "quoted text",
        'A path, a selector of modules (`in "layer3.*"`, where `*` is any characters) or a name of something outside '
        'of the recipe (`weights="DEFAULT"`). A relative path starts at the recipe\'s folder.',
    ),
    "PARAMETER": ("$name", SIGNS["$"]),
    "COMMENT": ("#", SIGNS["#"]),
}
#: words that belong together → what they do together
PHRASES = {
    "until … while": "A budget and a guard: `prune layers by imprint until latency < 0.7 while top1 drop < 60%` "
    "removes until the budget holds; a removal that breaks the guard is undone, and ends the statement. After the "
    "statement its `until` holds and its `while` still holds; otherwise the step fails, with the best attempt under "
    "`partial/`.",
    "repeat until": "Repeats its block until a budget holds: `repeat until latency < 0.7 { prune 1 layer by imprint; "
    "finetune for 1 epoch }`.",
    "repeat while": "Repeats its block as long as a guard holds, judged after each round; the round that breaks it is "
    "undone.",
    "train from scratch": "Trains the current architecture from new random weights: after a removal, the control of "
    "the literature (scratch-E; with `scratch(equal=flops)`, scratch-B).",
    "choose first": "Continues with the first variant, in order, that meets every `expect` above; others are not run.",
    "choose by": "Continues with the variant whose metric is best on the validation split.",
    "no recovery": "Switches off the `finetune` that is implied between a removal and `sparsify`.",
    "model … as": 'A second model, to distill from: `model resnet56(weights="…") as teacher`.',
    "data … as": 'A second data set, to measure on: `data folder("photos") as mine`, `measure top1 on mine`.',
    "sparsify … over": "Zeros come while the network trains, as the schedule says: `sparsify weights to 90% over "
    "agp(every=100 steps) for 10 epochs`.",
    "start from": "Continues with a network that was kept: `start from short`.",
    "keep as": "Names the network as it is now: `keep as short`.",
}
