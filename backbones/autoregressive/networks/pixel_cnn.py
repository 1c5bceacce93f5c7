"""The original PixelCNN (van den Oord et al., "Pixel recurrent neural networks", ICML 2016), with its blind spot."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from ..orderings import Ordering
from .grid import ImageNetwork
from .masked import MaskedConv2d


class PixelCNN(ImageNetwork):
    """PixelCNN: a ``first`` x ``first`` convolution with mask A, then ``layers`` residual k x k ones with mask B.

    Stacked masked filters extend the receptive field only along diagonals. Pixels to the right of these are never seen:
    pixel (i - 1, j + 2) is out of reach of any number of 3 x 3 layers. The gated network has no such blind spot.
    """

    def __init__(
        self,
        ordering: Ordering,
        width: int,
        cond: int = 0,
        memory: int = 0,
        *,
        size: int = 32,
        layers: int = 4,
        kernel: int = 3,
        first: int = 7,
    ) -> None:
        super().__init__(ordering, cond, memory)
        self.size, groups = size, self.groups
        self.first = MaskedConv2d(groups * width, groups * size, first, groups, strict=True)
        self.layers = nn.ModuleList(
            MaskedConv2d(groups * size, groups * size, kernel, groups, strict=False) for _ in range(layers)
        )
        self.conds = nn.ModuleList(
            MaskedConv2d(self.cond, groups * size, 1, groups, strict=False) for _ in range(layers + 1) if self.cond
        )

    def draw(self, x: Tensor, cond: Tensor | None) -> Tensor:
        """Map [B, groups * width, H, W] to [B, groups * size, H, W]."""
        x = self.first(x)
        if cond is not None:
            x = x + self.conds[0](cond)
        for i, layer in enumerate(self.layers):
            y = layer(F.relu(x))
            if cond is not None:
                y = y + self.conds[i + 1](cond)
            x = x + y
        return F.relu(x)
