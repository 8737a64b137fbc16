"""Modules that are not plain Python modules."""

import torch
from common import CLASSES, Net, conv
from torch import nn


def scripted():
    return torch.jit.script(nn.Sequential(conv(1, 16), nn.Flatten(), nn.Linear(1024, CLASSES)))


def traced_by_jit():
    return torch.jit.trace(Net().eval(), torch.zeros(2, 1, 8, 8))


def graph_module():
    return torch.fx.symbolic_trace(Net())


def compiled():
    return torch.compile(Net(), backend="eager")


def unpacked_program():
    return torch.export.export(Net().eval(), (torch.zeros(2, 1, 8, 8),)).module()


def without_norm():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(256, CLASSES)
    )
