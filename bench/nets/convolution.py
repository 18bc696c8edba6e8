"""Convolutions over the frames of a spectrogram: an autoencoder, and a voice's unit vector.

Needs torch. x: float32[batch, BINS, frames].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.nets.spectrogram import BINS

__all__ = ["Autoencoder", "Voice", "hinge", "shapes"]


class Autoencoder(nn.Module):
    """Conv1d(3) → MaxPool1d(2) with indices → Conv1d(3), and its mirror."""

    def __init__(self, channels: int = 64, code: int = 32) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(BINS, channels, 3)
        self.pool = nn.MaxPool1d(2, return_indices=True)
        self.conv2 = nn.Conv1d(channels, code, 3)
        self.deconv2 = nn.ConvTranspose1d(code, channels, 3)
        self.unpool = nn.MaxUnpool1d(2)
        self.deconv1 = nn.ConvTranspose1d(channels, BINS, 3)

    def steps(self, x: Tensor) -> list[Tensor]:
        """The input, what each layer makes of it, and last the reconstruction."""
        first = torch.relu(self.conv1(x))
        pooled, indices = self.pool(first)
        code = self.conv2(pooled)
        widened = torch.relu(self.deconv2(code))
        unpooled = self.unpool(widened, indices)
        return [x, first, pooled, code, widened, unpooled, self.deconv1(unpooled)]

    def forward(self, x: Tensor) -> Tensor:
        return self.steps(x)[-1]


def shapes(frames: int) -> list[int]:
    """The frames after each step of the autoencoder, from `frames` on and back."""
    with torch.no_grad():
        return [step.shape[-1] for step in Autoencoder().steps(torch.randn(1, BINS, frames))]


class Voice(nn.Module):
    """Convolution over time, the mean over all frames, a unit vector, float32[batch, size]."""

    def __init__(self, channels: int = 96, size: int = 64) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(BINS, channels, 3), nn.ReLU(),
            nn.Conv1d(channels, channels, 3), nn.ReLU(),
            nn.Conv1d(channels, size, 3),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.normalize(self.layers(x).mean(2), dim=1)


def hinge(own: Tensor, other: Tensor, margin: float) -> tuple[Tensor, Tensor]:
    """The hinge loss of triplets, the mean over violators alone, and the share of these.

        loss = mean over {i: v_i > 0} of v_i,  v_i = margin − own_i + other_i

    own, other: the similarities of the anchors to one of their kind and to one of another.
    """
    short = margin - own + other
    violates = short > 0
    loss = (short * violates).sum() / violates.sum().clamp(min=1)
    return loss, violates.float().mean()
