"""ResNet-18 and MobileNetV2 for CIFAR-10, narrow enough to be trained on one core in a few minutes.

    python benchmarks/networks/cifar.py --data FOLDER --out FOLDER [--networks resnet18 mobilenet_v2] [--seeds 3]

Both are built from torchvision's classes. ResNet-18 has a quarter of the filters and a stem of one 3×3 convolution with
stride 2, without pooling. MobileNetV2 has 0.35 of the channels, as the smallest of its paper, two inverted residuals at
most per stage, and halves the side three times instead of five. A network whose weights are in the folder is not
trained again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.models import MobileNetV2, ResNet
from torchvision.models.resnet import BasicBlock

from recipelang.kinds import Dataset
from recipelang.methods.data.cifar10 import Cifar10

#: MobileNetV2: expansion, channels, blocks, stride of the first, stage by stage.
STAGES = ((1, 16, 1, 1), (6, 24, 1, 1), (6, 32, 2, 2), (6, 64, 2, 2), (6, 96, 2, 1), (6, 160, 2, 2), (6, 320, 1, 1))
EPOCHS = 4
BATCH, RATE, DECAY = 64, 0.1, 5e-4


class Block(BasicBlock):
    """torchvision's, with a module for each ReLU: torchao's quantizer does not take one that is used twice."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.last = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """B×C×H×W → B×filters×H/stride×W/stride."""
        branch = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        out: Tensor = self.last(branch + (x if self.downsample is None else self.downsample(x)))
        return out


def resnet18(width: int = 16) -> nn.Module:
    """torchvision's ResNet-18 with this many filters in its first stage, for images of 32×32 pixels in 10 classes."""
    network = ResNet(Block, [2, 2, 2, 2], num_classes=10)
    network.inplanes = width
    network.conv1 = nn.Conv2d(3, width, 3, stride=2, padding=1, bias=False)
    network.bn1 = nn.BatchNorm2d(width)
    network.maxpool = nn.Identity()
    for number in range(4):
        stage = network._make_layer(Block, width << number, 2, stride=1 if number == 0 else 2)
        setattr(network, f"layer{number + 1}", stage)
    network.fc = nn.Linear(8 * width, 10)
    return network


def mobilenet_v2(width: float = 0.35) -> nn.Module:
    """torchvision's MobileNetV2 with this share of its channels and the stages of `STAGES`."""
    return MobileNetV2(num_classes=10, width_mult=width, inverted_residual_setting=[list(stage) for stage in STAGES])


BUILDERS: dict[str, Callable[[], nn.Module]] = {"resnet18": resnet18, "mobilenet_v2": mobilenet_v2}


def trained(name: str, data: Dataset, seed: int, epochs: int) -> nn.Module:
    """The network after this many epochs: SGD with Nesterov momentum, one cycle of the learning rate."""
    torch.manual_seed(seed)
    network = BUILDERS[name]().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), lr=RATE, momentum=0.9, weight_decay=DECAY, nesterov=True)
    steps = epochs * -(-data.size("train") // BATCH)
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.25)
    for epoch in range(epochs):
        network.train()
        total, count, began = 0.0, 0, time.process_time()
        for images, labels in data.batches("train", epoch=epoch, seed=seed):
            loss = F.cross_entropy(network(images.to(memory_format=torch.channels_last)), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            cycle.step()
            total, count = total + float(loss.detach()) * len(labels), count + len(labels)
        took = time.process_time() - began
        print(f"{name} seed {seed} epoch {epoch + 1}: loss {total / count:.3f}, {took:.0f} s", flush=True)
    return network.eval()


def accuracy(network: nn.Module, data: Dataset) -> float:
    """Percent of the test images."""
    right: list[Tensor] = []
    with torch.no_grad():
        for images, labels in data.batches("test", batch=500):
            right.append(network(images.to(memory_format=torch.channels_last)).argmax(1) == labels)
    return 100 * float(torch.cat(right).float().mean())


def main() -> None:
    """Train what has no weights yet, and write it as safetensors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="folder of CIFAR-10")
    parser.add_argument("--out", required=True, help="folder for the weights")
    parser.add_argument("--networks", nargs="*", default=list(BUILDERS), choices=list(BUILDERS))
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    data = Cifar10(asked.data, batch=BATCH).open(Path)
    for seed in range(asked.seeds):
        for name in asked.networks:
            file = Path(asked.out) / f"{name}-{seed}.safetensors"
            if file.is_file():
                continue
            network = trained(name, data, seed, EPOCHS)
            state = {key: value.contiguous() for key, value in network.state_dict().items()}
            file.parent.mkdir(parents=True, exist_ok=True)
            save_file(state, file, {"top1": f"{accuracy(network, data):.2f}"})
            print(f"{file.name}: top1 {accuracy(network, data):.2f} %", flush=True)


if __name__ == "__main__":
    main()
