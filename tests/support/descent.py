"""Training in a few lines, for tests of what a trained model reaches."""

import torch


def descend(model, value, steps, rate, decay=True):
    """Adam on ``value()`` [], at a rate that goes down in a line to nothing, or stays."""
    optimizer = torch.optim.Adam(model.parameters(), rate)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * (1 - decay * step / steps)
        optimizer.zero_grad()
        value().backward()
        optimizer.step()
