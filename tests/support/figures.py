"""What a loss says of its latest update, as tensors."""

from morello.auxiliaries.pooling import value_of


def figures(loss):
    return {name: value_of(metric).float() for name, metric in loss.metrics.items()}
