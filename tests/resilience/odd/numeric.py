"""Numbers that are not float32."""

import torch
from common import Net
from torch import nn


def fourier():
    class Fourier(Net):
        def __init__(self):
            super().__init__()
            self.filter = nn.Parameter(torch.randn(16, 8, 5, 2) * 0.1)

        def middle(self, x):
            return x + torch.fft.irfft2(torch.fft.rfft2(x) * torch.view_as_complex(self.filter), s=(8, 8))

    return Fourier()


def complex_parameters():
    class Complex(Net):
        def __init__(self):
            super().__init__()
            self.turn = nn.Parameter(torch.randn(16, 16, dtype=torch.complex64) / 4)

        def end(self, x):
            return self.head(self.neurons((x.mean((2, 3)).to(torch.complex64) @ self.turn).abs()))

    return Complex()


def half_parts():
    class Half(Net):
        def __init__(self):
            super().__init__()
            self.narrow = nn.Linear(16, 16).bfloat16()

        def end(self, x):
            return self.head(self.neurons(self.narrow(x.mean((2, 3)).bfloat16()).float()))

    return Half()


def double_parts():
    class Double(Net):
        def __init__(self):
            super().__init__()
            self.wide = nn.Linear(16, 16).double()

        def end(self, x):
            return self.head(self.neurons(self.wide(x.mean((2, 3)).double()).float()))

    return Double()


def all_double():
    class Wide(Net):
        def forward(self, x):
            return super().forward(x.double()).float()

    return Wide().double()


def looked_up():
    class LookedUp(Net):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(17, 16)

        def middle(self, x):
            return x + self.table((x.mean(1).clamp(0, 1) * 16).long()).movedim(-1, 1)

    return LookedUp()
