"""Code that tracers do not follow: branches and shapes that depend on values, functions with gradients of their own."""

import torch
from common import Net, sequence
from torch import nn
from torch.nn import functional as F


def branch_on_values():
    class Branching(Net):
        def middle(self, x):
            return x if x.mean() > 0.5 else -x

    return Branching()


def branch_in_training():
    class Branching(Net):
        def middle(self, x):
            if self.training and float(x.abs().max()) > 100:
                x = x.clamp(-100, 100)
            return x

    return Branching()


def steps_until_enough():
    class Until(Net):
        def middle(self, x):
            for _ in range(4):
                if x.abs().mean().item() > 1:
                    break
                x = x * 1.5
            return x

    return Until()


class Rounded(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return (x * 16).round() / 16

    @staticmethod
    def backward(ctx, gradient):
        return gradient


def custom_autograd():
    class Straight(Net):
        def middle(self, x):
            return Rounded.apply(x)

    return Straight()


class OwnProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return x @ weight.t()

    @staticmethod
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        return gradient @ weight, gradient.flatten(0, -2).t() @ x.flatten(0, -2)


def custom_product():
    class Product(Net):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(16, 16) / 4)

        def end(self, x):
            return self.head(self.neurons(F.relu(OwnProduct.apply(x.mean((2, 3)), self.weight))))

    return Product()


def batch_dependent():
    class Centred(Net):
        def middle(self, x):
            return x - x.mean(0, keepdim=True)

    return Centred()


def batch_attention():
    class Attending(Net):
        def end(self, x):
            x = x.mean((2, 3))
            return self.head(self.neurons((x @ x.t() / 4).softmax(-1) @ x))

    return Attending()


def shapes_from_values():
    class Selecting(Net):
        def end(self, x):
            x = sequence(x)
            strongest = x.sum(-1).argsort(-1)[:, : int((x > 0).float().mean() * 32) + 8]
            x = torch.gather(x, 1, strongest[..., None].expand(-1, -1, x.shape[-1]))
            return self.head(self.neurons(x.mean(1)))

    return Selecting()


def selected_by_mask():
    class Selecting(Net):
        def end(self, x):
            x = sequence(x)
            found = torch.stack([one[one.sum(-1) >= one.sum(-1).median()].mean(0) for one in x])
            return self.head(self.neurons(found))

    return Selecting()


def experts():
    class Experts(Net):
        def __init__(self):
            super().__init__()
            self.gate, self.experts = nn.Linear(16, 3), nn.ModuleList(nn.Linear(16, 16) for _ in range(3))

        def end(self, x):
            x = x.mean((2, 3))
            which = self.gate(x).argmax(-1)
            y = torch.zeros_like(x)
            for k, expert in enumerate(self.experts):
                chosen = which == k
                if chosen.any():
                    y[chosen] = expert(x[chosen])
            return self.head(self.neurons(y))

    return Experts()


def soft_experts():
    class Experts(Net):
        def __init__(self):
            super().__init__()
            self.gate, self.experts = nn.Linear(16, 3), nn.Parameter(torch.randn(3, 20, 16) / 4)
            self.back = nn.Linear(20, 16)

        def end(self, x):
            x = x.mean((2, 3))
            y = torch.einsum("bi,koi,bk->bo", x, self.experts, self.gate(x).softmax(-1))
            return self.head(self.neurons(self.back(F.relu(y))))

    return Experts()
