"""Synthetic spectrograms of speakers: voice-like, seeded, as many as are wanted.

A speaker has a pitch and a vocal tract: its length scales the formants, and each of them has its
own place. An utterance speaks a few vowels at its own pace, pitch contour and loudness, through a
channel of its own with noise. Energy at frequency f is a sum over the harmonics of the pitch, each
as strong as the formants make it at its place:

    E(f, t) = Σ_h A(h·f0(t), t) · exp(−(mel(f) − mel(h·f0(t)))² / 2σ²)
    A(g, t) = g^−tilt · Σ_k a_k · exp(−(ln g − ln F_k(t))² / 2w²)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["BINS", "FRAMES", "spectrograms"]

BINS, FRAMES = 128, 44
_HARMONICS = np.arange(1, 41)
_LOWEST, _HIGHEST = 80.0, 7000.0  # Hz
# Formants of five vowels, Hz.
_VOWELS = np.array([
    (730, 1090, 2440), (530, 1840, 2480), (270, 2290, 3010), (570, 840, 2410), (300, 870, 2240),
], dtype=float)  # fmt: skip
_STRENGTHS = np.array([1.0, 0.6, 0.3])


def _mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    """The bin, as a real number from 0 to BINS − 1, of a frequency."""
    low, high = (2595 * np.log10(1 + f / 700) for f in (_LOWEST, _HIGHEST))
    bins: NDArray[np.float64] = (2595 * np.log10(1 + hertz / 700) - low) / (high - low) * (BINS - 1)
    return bins


def spectrograms(
    speakers: int, utterances: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Log energies of mean 0 and variance 1 each, float32[speakers·utterances, BINS, FRAMES], and
    the speaker of each, int64, in order.
    """
    random = np.random.default_rng(seed)
    found = np.empty((speakers * utterances, BINS, FRAMES), dtype=np.float32)
    for speaker in range(speakers):
        pitch = np.exp(random.uniform(np.log(90), np.log(260)))
        tract = random.uniform(0.85, 1.2) * np.exp(0.05 * random.standard_normal(3))
        tilt = random.uniform(0.3, 0.9)
        for i in range(utterances):
            found[speaker * utterances + i] = _utterance(random, pitch, tract, tilt)
    return found, np.repeat(np.arange(speakers), utterances)


def _utterance(
    random: np.random.Generator, pitch: float, tract: NDArray[np.float64], tilt: float
) -> NDArray[np.float64]:
    time = np.linspace(0, 1, FRAMES)
    spoken = _VOWELS[random.integers(0, len(_VOWELS), 4)]
    places = np.linspace(0, 1, len(spoken))
    formants = tract * np.stack([np.interp(time, places, column) for column in spoken.T], 1)
    contour = np.interp(time, np.linspace(0, 1, 4), 0.12 * random.standard_normal(4))
    tones = np.outer(pitch * np.exp(contour), _HARMONICS)  # [FRAMES, harmonics], Hz
    near = (np.log(tones)[:, :, None] - np.log(formants)[:, None, :]) ** 2
    strengths = (_STRENGTHS * np.exp(-near / (2 * 0.15**2))).sum(2) * (tones / 500) ** -tilt
    apart = np.arange(BINS)[:, None, None] - _mel(tones)
    energy = (strengths * np.exp(-(apart**2) / (2 * 1.2**2))).sum(2)  # [BINS, FRAMES]
    channel = np.interp(np.arange(BINS), np.linspace(0, BINS - 1, 6), random.standard_normal(6))
    noise = 0.01 * random.exponential(size=energy.shape)
    log = np.log(energy * np.exp(0.8 * channel)[:, None] + noise)
    scaled: NDArray[np.float64] = (log - log.mean()) / log.std()
    return scaled
