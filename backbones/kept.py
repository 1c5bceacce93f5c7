"""Activations of an image torso that acting computes and learning needs again: kept, and not computed twice.

On-policy, the learner unrolls what was acted on with the very weights that it was acted with: the forward pass through
the convolutions, a quarter of an update, would only repeat what is known.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from .convolutional import ConvolutionalTorso
from .numerics import running_dtype
from .rectified import KnownConvolution, chain, convolve

LEAST_ROWS = 4
"""Rows at a time from which outputs are kept. For one alone libraries have other kernels, which round differently."""

Rows = Callable[[Tensor], tuple[Tensor, Tensor]]


class Kept:
    """Outputs of ``torso``'s convolutions for ``images`` [T + 1, B, H, W, C] on a CPU: the buffer of one actor.

    Between ``begin`` and ``finish`` the rows of the buffer that are encoded without a gradient are kept, computed with
    weights that are rounded once. Then the buffer as a whole can be encoded with a gradient from what was kept, unless
    weights or images have changed; images must not change between that and the gradient. Rows are recognised by their
    address in the buffer.
    """

    def __init__(self, torso: ConvolutionalTorso, images: Tensor) -> None:
        self.torso, self.images = torso, images
        self.rows = images.flatten(0, 1)
        self.layers = chain(torso.convolutions) or []
        self.outputs: list[Tensor] = []
        self.open = False  # between begin and finish
        self.finished: int | None = None  # the images' version when acting was finished
        self.recalls = 0

    @staticmethod
    def possible(torso: object, images: Tensor) -> bool:
        """Return whether the outputs of this torso for these images can be kept."""
        return (
            isinstance(torso, ConvolutionalTorso)
            and type(torso).forward is ConvolutionalTorso.forward
            and chain(torso.convolutions) is not None
            and images.device.type == "cpu"
            and images.is_contiguous()
            and not images.is_inference()
            and not torch.is_inference_mode_enabled()  # which makes tensors that no gradient can be computed from
        )

    def __deepcopy__(self, memo: object) -> None:
        """Return nothing: the copy of a network has nothing kept."""

    @torch.no_grad()
    def begin(self, dtype: torch.dtype) -> None:
        """Forget everything and begin to keep outputs, computed in ``dtype`` with the weights of now."""
        if self.outputs and self.outputs[0].dtype != dtype:
            self.outputs = []
        self.dtype = dtype
        self.filled = torch.zeros(len(self.rows), dtype=torch.bool)
        self.taken = [p.clone() for layer in self.layers for p in layer.parameters()]
        self.versions = self._versions()
        self.weights = [(w.to(dtype), b.to(dtype)) for w, b in self._filters()]
        self.linear = self.torso.linear.weight.to(dtype), self.torso.linear.bias.to(dtype)
        self.open, self.finished = True, None

    def finish(self) -> None:
        """Stop keeping outputs: the images will not change before they are learnt from."""
        self.open, self.finished = False, self.images._version

    def serving(self, x: Tensor) -> Rows | None:
        """Return the function that encodes the rows of ``x`` [T, B, H, W, C] in the place of the torso, or None."""
        if self.dtype != running_dtype(x.device):
            return None
        if not torch.is_grad_enabled():
            return self._record if self.open and self._covers(x) and self.versions == self._versions() else None
        if self.finished is None or x is not self.images or self.finished != x._version:
            return None
        last = len(self.rows) - x.shape[1]  # row T is acted on in the next rollout
        now = (p for layer in self.layers for p in layer.parameters())
        if not self.filled[:last].all() or not all(map(torch.equal, self.taken, now)):
            return None
        if not self.filled.all():
            with torch.no_grad():
                self._convolve(last, self.rows[last:])
        self.recalls += 1
        # Rounded once for all rows; the first filters, which are scaled first, are rounded for each chunk.
        (first, bias), *others = ((w, b.to(self.dtype)) for w, b in self._filters(scaled=False))
        return functools.partial(self._recall, [(first, bias), *((w.to(self.dtype), b) for w, b in others)])

    def _covers(self, x: Tensor) -> bool:
        same = x.untyped_storage().data_ptr() == self.images.untyped_storage().data_ptr()
        return same and x.is_contiguous() and x.shape[2:] == self.images.shape[2:] and x.shape[1] >= LEAST_ROWS

    def _start(self, rows: Tensor) -> int:
        return (rows.data_ptr() - self.images.data_ptr()) // self.rows.stride(0)

    def _versions(self) -> list[int]:
        return [p._version for p in self.torso.parameters()]

    def _filters(self, scaled: bool = True) -> list[tuple[Tensor, Tensor]]:
        found = []
        for i, layer in enumerate(self.layers):
            assert layer.bias is not None
            found.append((layer.weight * (1 / 255) if i == 0 and scaled else layer.weight, layer.bias))
        return found

    def _convolve(self, start: int, rows: Tensor) -> Tensor:
        """Compute and keep the outputs for rows of the buffer from ``start``, and return the last layer's."""
        y = rows.permute(0, 3, 1, 2).to(self.dtype)
        for i, (layer, (weight, bias)) in enumerate(zip(self.layers, self.weights, strict=True)):
            y = convolve(y, weight, bias, layer.stride, layer.padding)
            if i == len(self.outputs):
                size = (len(self.rows), *y.shape[1:])
                self.outputs.append(torch.empty(size, dtype=self.dtype, memory_format=torch.channels_last))
            y = torch.clamp_min(y, 0, out=self.outputs[i][start : start + len(rows)])
        self.filled[start : start + len(rows)] = True
        return y

    def _record(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        y = self._convolve(self._start(rows), rows)
        return y, F.relu(F.linear(y.flatten(1), *self.linear), inplace=True)

    def _recall(self, weights: list[tuple[Tensor, Tensor]], rows: Tensor) -> tuple[Tensor, Tensor]:
        start = self._start(rows)
        y = rows.permute(0, 3, 1, 2)
        for i, (layer, (w, bias), output) in enumerate(zip(self.layers, weights, self.outputs, strict=True)):
            weight = (w * (1 / 255)).to(self.dtype) if i == 0 else w
            y = KnownConvolution.apply(y, weight, bias, output[start : start + len(rows)], layer.stride, layer.padding)  # type: ignore[no-untyped-call]
        return y, F.relu(self.torso.linear(y.flatten(1)), inplace=True)
