"""Weights that are not plain parameters of one layer."""

import warnings

import torch
from common import CLASSES, Net
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize, prune


def tied_weights():
    net = Net()
    net.more = nn.Linear(16, 24)
    net.neurons[0].weight = net.more.weight
    net.block.two.weight = nn.Parameter(net.block.two.weight)
    return net


def tied_with_its_transpose():
    class Tied(Net):
        def end(self, x):
            x = F.relu(F.linear(x.mean((2, 3)), self.neurons[0].weight))
            return self.head(F.linear(x, self.neurons[0].weight.t()))

    return Tied()


def weight_norm():
    net = Net()
    parametrizations.weight_norm(net.block.one[0])
    parametrizations.weight_norm(net.neurons[0])
    return net


def weight_norm_by_hook():
    net = Net()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        nn.utils.weight_norm(net.block.one[0])
        nn.utils.weight_norm(net.neurons[0])
    return net


def spectral_norm():
    net = Net()
    parametrizations.spectral_norm(net.block.one[0])
    return net


def spectral_norm_by_hook():
    net = Net()
    nn.utils.spectral_norm(net.block.one[0])
    return net


def orthogonal():
    net = Net()
    parametrizations.orthogonal(net.neurons[0])
    return net


class Symmetric(nn.Module):
    def forward(self, weight):
        return weight.triu() + weight.triu(1).transpose(-1, -2)


def symmetric():
    net = Net()
    net.more = nn.Linear(16, 16)
    net.neurons = nn.Sequential(net.more, nn.ReLU(), nn.Linear(16, 16))
    parametrize.register_parametrization(net.more, "weight", Symmetric())
    return net


def masked_by_torch():
    net = Net()
    prune.l1_unstructured(net.block.one[0], "weight", 0.5)
    prune.ln_structured(net.neurons[0], "weight", 0.25, n=2, dim=0)
    return net


class StandardConv(nn.Conv2d):
    def forward(self, x):
        w = self.weight
        w = (w - w.mean((1, 2, 3), keepdim=True)) / (w.std((1, 2, 3), keepdim=True) + 1e-5)
        return F.conv2d(x, w, self.bias, self.stride, self.padding)


def weight_standardisation():
    net = Net()
    net.block.one[0] = StandardConv(16, 32, 3, padding=1)
    return net


def buffers_as_weights():
    class Filtered(Net):
        def __init__(self):
            super().__init__()
            self.register_buffer("kernel", torch.randn(16, 1, 3, 3))
            self.register_buffer("mix", torch.randn(16, 16) / 4)

        def middle(self, x):
            x = F.conv2d(x, self.kernel, padding=1, groups=16)
            return torch.einsum("bchw,dc->bdhw", x, self.mix)

    return Filtered()


def constants_as_weights():
    class Filtered(Net):
        def __init__(self):
            super().__init__()
            self.register_buffer("kernel", torch.ones(16, 1, 3, 3) / 9, persistent=False)

        def middle(self, x):
            return F.conv2d(x, self.kernel, padding=1, groups=16)

    return Filtered()


def weights_from_a_network():
    class Hyper(Net):
        def __init__(self):
            super().__init__()
            self.code, self.make = nn.Parameter(torch.randn(8)), nn.Linear(8, 16 * 16)

        def middle(self, x):
            return F.relu(F.conv2d(x, self.make(self.code).view(16, 16, 1, 1)))

    return Hyper()


def low_rank_adapter():
    class Adapted(nn.Linear):
        def __init__(self, inputs, outputs):
            super().__init__(inputs, outputs)
            self.a, self.b = nn.Parameter(torch.randn(2, inputs)), nn.Parameter(torch.zeros(outputs, 2))
            self.weight.requires_grad_(False)

        def forward(self, x):
            return F.linear(x, self.weight + self.b @ self.a, self.bias)

    net = Net()
    net.neurons = nn.Sequential(Adapted(16, 24), nn.ReLU(), Adapted(24, 16))
    return net


def parameters_in_lists():
    class Listed(Net):
        def __init__(self):
            super().__init__()
            self.kernels = nn.ParameterList([nn.Parameter(torch.randn(16, 16, 1, 1) / 4) for _ in range(2)])
            self.scales = nn.ParameterDict({"a": nn.Parameter(torch.ones(1, 16, 1, 1))})

        def middle(self, x):
            for kernel in self.kernels:
                x = F.relu(F.conv2d(x, kernel)) * self.scales["a"]
            return x

    return Listed()


def frozen_modules():
    net = Net()
    net.stem.requires_grad_(False)
    net.block.one.requires_grad_(False)
    return net


def frozen_statistics():
    class Frozen(Net):
        def train(self, mode=True):
            super().train(mode)
            for part in self.modules():
                if isinstance(part, nn.BatchNorm2d):
                    part.eval()
            return self

    return Frozen()


def lazy():
    net = Net()
    net.neurons = nn.Sequential(nn.LazyLinear(24), nn.ReLU(), nn.LazyLinear(16))
    net.block.one[0] = nn.LazyConv2d(32, 3, padding=1)
    return net


def only_computed():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight, self.head = nn.Parameter(torch.randn(24, 1, 3, 3)), nn.Linear(24, CLASSES)

        def forward(self, x):
            return self.head(F.relu(F.conv2d(x, self.weight * 2)).mean((2, 3)))

    return Shared()
