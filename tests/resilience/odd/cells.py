"""Recurrent cells, modules that are called twice, attention."""

from common import Net, sequence
from torch import nn


class Cell(Net):
    def __init__(self, cell, size=16, **more):
        super().__init__()
        self.cell, self.out = cell(16, 12, **more), nn.Linear(size, 16)

    def end(self, x):
        states, _ = self.cell(sequence(x))
        return self.head(self.neurons(self.out(states[:, -1])))


def lstm():
    return Cell(nn.LSTM, 12, batch_first=True)


def lstm_both_ways():
    return Cell(nn.LSTM, 24, batch_first=True, bidirectional=True, num_layers=2)


def lstm_projected():
    return Cell(nn.LSTM, 6, batch_first=True, proj_size=6)


def gru():
    return Cell(nn.GRU, 12, batch_first=True)


def elman():
    return Cell(nn.RNN, 12, batch_first=True, nonlinearity="relu")


def cells_in_a_loop():
    class Looped(Net):
        def __init__(self):
            super().__init__()
            self.cell, self.gru, self.out = nn.LSTMCell(16, 12), nn.GRUCell(12, 10), nn.Linear(10, 16)

        def end(self, x):
            h, c, g = x.new_zeros(len(x), 12), x.new_zeros(len(x), 12), x.new_zeros(len(x), 10)
            for step in sequence(x).unbind(1)[:6]:
                h, c = self.cell(step, (h, c))
                g = self.gru(h, g)
            return self.head(self.neurons(self.out(g)))

    return Looped()


def called_twice():
    class Twice(Net):
        def middle(self, x):
            return self.block(self.block(x))

    return Twice()


def one_module_two_names():
    net = Net()
    net.again = net.block
    return net


def encoder_layer():
    class Encoder(Net):
        def __init__(self):
            super().__init__()
            self.encoder = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)

        def end(self, x):
            return self.head(self.neurons(self.encoder(sequence(x)).mean(1)))

    return Encoder()


def attention_with_weights():
    class Attending(Net):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

        def end(self, x):
            x = sequence(x)
            y, weights = self.attention(x, x, x, need_weights=True)
            return self.head(self.neurons((x + y).mean(1) + weights.mean((1, 2))[:, None]))

    return Attending()
