"""Hooks, closures, and what a module holds besides its weights."""

import torch
from common import Net
from torch import nn


def doubled(part, inputs, output):
    return output * 2


def hook_that_changes():
    net = Net()
    net.block.one.register_forward_hook(doubled)
    return net


def hook_that_reorders():
    net = Net()
    net.block.one.register_forward_hook(lambda part, inputs, output: output.flip(1))
    return net


def hook_that_keeps():
    net = Net()
    net.block.one.register_forward_hook(lambda part, inputs, output: setattr(part, "seen", output))
    return net


def closure_skip():
    net = Net()

    class Skip(nn.Module):
        def forward(self, x):
            return x + net.stem[0].weight.mean()

    net.neurons.append(Skip())
    return net


class Lambda(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def lambda_layer():
    net = Net()
    net.block.one.append(Lambda(lambda x: x * torch.sigmoid(x)))
    return net


def keeps_activations():
    class Keeping(Net):
        def middle(self, x):
            self.kept = x
            return x

        def end(self, x):
            return super().end(x + self.kept)

    return Keeping()


def counts_calls():
    class Counting(Net):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros((), dtype=torch.long))

        def middle(self, x):
            self.calls += 1
            return x

    return Counting()


def prints():
    class Loud(Net):
        def middle(self, x):
            assert x.shape[1] == 16, "16 channels"
            return x

    return Loud()


def width_in_the_code():
    class Fixed(Net):
        def end(self, x):
            return self.head(self.neurons(x.view(len(x), 16, 64).mean(2)))

    return Fixed()


def width_from_a_layer():
    class Reading(Net):
        def end(self, x):
            return self.head(self.neurons(x.view(len(x), self.stem[0].out_channels, -1).mean(2)))

    return Reading()


def index_buffer():
    class Shuffled(Net):
        def __init__(self):
            super().__init__()
            self.register_buffer("order", torch.arange(16).flip(0))

        def middle(self, x):
            return x[:, self.order]

    return Shuffled()


def checkpointed():
    from torch.utils.checkpoint import checkpoint

    class Checkpointed(Net):
        def middle(self, x):
            return checkpoint(self.block, x, use_reentrant=False)

    return Checkpointed()


def gradient_inside():
    class Inside(Net):
        def middle(self, x):
            return torch.func.vmap(lambda one: one / (1 + one.abs().amax()))(x)

    return Inside()


def own_copy():
    class Copied(Net):
        def __deepcopy__(self, memo):
            raise TypeError("no copies")

    return Copied()


def slots_and_none():
    class Odd(Net):
        def __init__(self):
            super().__init__()
            self.extra = None
            self.register_parameter("nothing", None)
            self.register_buffer("neither", None)

        def middle(self, x):
            return x if self.extra is None else self.extra(x)

    return Odd()
