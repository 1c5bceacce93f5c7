"""Torsos, which map one observation to a vector, and memories, which map sequences of vectors."""

from .base import Features, SequenceModel, Sizes, Torso
from .convolutional import DeepCNN, NatureCNN, ShallowCNN
from .dilated import Dilated
from .grid import Grid
from .perceptron import Perceptron
from .recurrent import GRU, LSTM, Feedforward
from .transformer import Transformer

TORSOS: dict[str, type[Torso]] = {
    "nature": NatureCNN,
    "shallow": ShallowCNN,
    "deep": DeepCNN,
    "grid": Grid,
    "mlp": Perceptron,
}
MEMORIES: dict[str, type[SequenceModel]] = {
    "none": Feedforward,
    "lstm": LSTM,
    "gru": GRU,
    "conv": Dilated,
    "transformer": Transformer,
}

__all__ = ["MEMORIES", "TORSOS", "Features", "SequenceModel", "Sizes", "Torso"]
