"""Small networks whose layers a watch has to find: attention, depthwise and repeated layers, an image as the answer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from recipelang.surgery.network import Network


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x.flatten(2).transpose(1, 2)).mean(1))


class Depthwise(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.c, self.n = nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.BatchNorm2d(16)
        self.p, self.up, self.head = nn.Conv2d(16, 8, 1), nn.ConvTranspose2d(8, 8, 2, 2), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.n(self.c(x)).relu()
        return self.head(self.up(self.p(x)).relu().mean((2, 3)))


class Repeated(nn.Module):
    """One convolution three times, each with an addition after it, and one linear layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.again, self.down = nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 128, 3, padding=1)
        self.twice, self.head = nn.Linear(128, 128), nn.Linear(128, 3)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = x + self.again(x).relu()
        x = self.down(x).relu().mean((2, 3))
        return self.head(self.twice(self.twice(x).relu()).relu())


class Up(nn.Module):
    """Superresolution: the answer is an image."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 12, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.pixel_shuffle(self.b(self.a(x).relu()), 2)


def networks() -> dict[str, Network]:
    torch.manual_seed(0)
    modules = {
        "attending": Attending(),
        "depthwise": Depthwise(),
        "up": Up(),
        "repeated": Repeated(),
        "mlp": nn.Sequential(nn.Flatten(), nn.Linear(1024, 32), nn.ReLU(), nn.Linear(32, 3)),
    }
    for parameter in modules["attending"].parameters():  # its layers are copies of one: equal weights are one in ONNX
        nn.init.normal_(parameter, std=0.2)
    return {name: Network(module.eval(), {}, (16, 8, 8)) for name, module in modules.items()}
