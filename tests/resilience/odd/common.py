"""What the networks of this folder share. They are for 1×8×8 images, and tools for pruning stumble over each."""

from torch import nn

CLASSES = 10


def conv(inputs, outputs, **more):
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1, **more), nn.BatchNorm2d(outputs), nn.ReLU())


class Block(nn.Module):
    """A residual block, which layers are."""

    def __init__(self, width=16):
        super().__init__()
        self.one, self.two = conv(width, 2 * width), nn.Conv2d(2 * width, width, 3, padding=1)

    def forward(self, x):
        return x + self.two(self.one(x))


class Net(nn.Module):
    """A stem, what a subclass does in the middle, a block and a head."""

    def __init__(self, width=16):
        super().__init__()
        self.stem, self.block = conv(1, width), Block(width)
        self.neurons = nn.Sequential(nn.Linear(width, 24), nn.ReLU(), nn.Linear(24, width))
        self.head = nn.Linear(width, CLASSES)

    def middle(self, x):
        return x

    def end(self, x):
        return self.head(self.neurons(x.mean((2, 3))))

    def forward(self, x):
        return self.end(self.block(self.middle(self.stem(x))))


def sequence(x):
    """B×C×H×W → B×HW×C."""
    return x.flatten(2).transpose(1, 2)
