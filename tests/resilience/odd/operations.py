"""Operations and norms that are used rarely."""

from common import CLASSES, Net
from torch import nn
from torch.nn import functional as F


def other_convolutions():
    class Other(Net):
        def __init__(self):
            super().__init__()
            self.line, self.room = nn.Conv1d(16, 20, 3, padding="same"), nn.Conv3d(1, 4, 3, padding=1)
            self.back = nn.Conv2d(20, 16, 1, padding_mode="circular")
            self.join = nn.Conv2d(64, 16, 1)

        def middle(self, x):
            y = self.line(x.flatten(2)).unflatten(2, (8, 8))
            z = self.room(x[:, None]).flatten(1, 2)
            return F.relu(self.back(y)) + self.join(z)

    return Other()


def bilinear():
    class Bilinear(Net):
        def __init__(self):
            super().__init__()
            self.both = nn.Bilinear(16, 16, 16)

        def end(self, x):
            x = x.mean((2, 3))
            return self.head(self.neurons(self.both(x, x)))

    return Bilinear()


def unfolded():
    class Unfolded(Net):
        def __init__(self):
            super().__init__()
            self.patches = nn.Linear(16 * 9, 16)

        def middle(self, x):
            return self.patches(F.unfold(x, 3, padding=1).transpose(1, 2)).transpose(1, 2).unflatten(2, (8, 8))

    return Unfolded()


def moved_in_space():
    class Moved(Net):
        def __init__(self):
            super().__init__()
            self.place = nn.Linear(16, 6)

        def middle(self, x):
            grid = F.affine_grid(self.place(x.mean((2, 3))).view(-1, 2, 3), list(x.shape), align_corners=False)
            return F.interpolate(F.grid_sample(x, grid, align_corners=False), scale_factor=0.5)

    return Moved()


def norms_of_all_kinds():
    net = Net()
    net.block.one = nn.Sequential(
        nn.Conv2d(16, 32, 3, padding=1), nn.GroupNorm(4, 32), nn.PReLU(32), nn.LocalResponseNorm(3),
        nn.InstanceNorm2d(32, affine=True, track_running_stats=True), nn.BatchNorm2d(32, affine=False),
    )  # fmt: skip
    net.neurons = nn.Sequential(nn.Linear(16, 24), nn.LayerNorm(24), nn.RMSNorm(24), nn.Linear(24, 16))
    return net


def statistics_of_the_batch():
    net = Net()
    net.block.one[1] = nn.BatchNorm2d(32, track_running_stats=False)
    return net


def one_channel():
    return nn.Sequential(nn.Conv2d(1, 1, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36, CLASSES))


def no_hidden_layer():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, CLASSES))


def highest_of_channels():
    class Highest(Net):
        def middle(self, x):
            return x * (x.argmax(1, keepdim=True) > 3)

    return Highest()


def sorted_channels():
    class Sorted(Net):
        def middle(self, x):
            return x.sort(1).values + x.cumsum(1)

    return Sorted()


def two_answers():
    class Two(Net):
        def __init__(self):
            super().__init__()
            self.second = nn.Linear(16, CLASSES)

        def forward(self, x):
            x = self.block(self.stem(x)).mean((2, 3))
            return (self.head(x), self.second(x)) if self.training else self.head(x)

    return Two()
