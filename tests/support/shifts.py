"""Where a window was cut out of an image."""

import torch
from torch.nn import functional as F


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def padded(image, pad):
    """[H, W, C] -> [H + 2 pad, W + 2 pad, C], by torch's own padding."""
    return F.pad(image.permute(2, 0, 1).float(), (pad,) * 4, mode="replicate").permute(1, 2, 0).to(torch.uint8)


def offsets(image, window, pad):
    """Every (top, left) at which ``window`` is cut out of the padded image."""
    large, (height, width, _) = padded(image, pad), image.shape
    return [
        (top, left)
        for top in range(2 * pad + 1)
        for left in range(2 * pad + 1)
        if torch.equal(large[top : top + height, left : left + width], window)
    ]
