"""What intrinsic rewards look at: the newest frame of an image, averaged down, and vectors as they are."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional as F

from ....envs.experience import Spec

CODES = 20
"""Side below which an image is a grid of codes, which are not averaged."""

Views = dict[str, Tensor]
"""Views of N observations: "image" [N, C, h, w] float32 in [0, 255] and/or "vector" [N, V] float32."""


class View:
    """Looks at observations [..., H, W, C] and [..., V]. ``shapes`` are those of one view, by name.

    Images are averaged over squares of pixels, as large as leave ``side`` pixels each way. Grids of codes, of fewer
    than 20 cells a side, are left as they are. Of stacked frames the newest is seen.
    """

    def __init__(self, spec: Spec, side: int) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.factor, self.channels = 1, 0
        for name, (shape, _) in sorted(spec.observation.items()):
            if name == "image":
                height, width, channels = shape
                self.channels = channels // spec.stacked
                self.factor = 1 if min(height, width) < CODES else max(1, min(height, width) // side)
                self.shapes[name] = (self.channels, height // self.factor, width // self.factor)
            else:
                self.shapes[name] = tuple(shape)

    def __call__(self, observation: Mapping[str, Tensor]) -> Views:
        """Return the views of N observations; N are all leading axes, row-major."""
        found: Views = {}
        for name, shape in self.shapes.items():
            x = observation[name]
            if name == "image":
                frame = x[..., x.shape[-1] - self.channels :].flatten(0, -4).permute(0, 3, 1, 2).float()
                found[name] = F.avg_pool2d(frame, self.factor) if self.factor > 1 else frame
            else:
                found[name] = x.reshape(-1, *shape).float()
        return found

    def small(self, name: str) -> bool:
        """Return whether the image ``name`` is a grid of codes."""
        return name == "image" and name in self.shapes and min(self.shapes[name][1:]) < CODES and self.factor == 1
