"""Training of the autoencoder.

Loss: L1 + MSE of colours and L1 of their differences between neighbours, each pixel weighted by
how much it differs from the background of its frame, so that small moving things are kept.
Latents are whitened by the statistics of the batch and noised before they are decoded: they can
neither collapse nor explode, near latents decode alike, and errors of a generated latent are borne.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d
from tqdm import tqdm

from selfflow_robotics.machine.precision import computing
from selfflow_robotics.tokenizers.autoencoder import Autoencoder, AutoencoderConfig
from selfflow_robotics.tokenizers.background import Backgrounds
from selfflow_robotics.tokenizers.tokenizer import Tokenizer, to_pixels

_STATISTICS_FRAMES = 1024
_EMA_DECAY = 0.998
_MOVING = 0.15  # of the scale -1..1, i.e. 19 of 255
_CONTRAST = 0.5  # of the same scale


@dataclass(frozen=True)
class Loss:
    """What training minimises."""

    moving: float = 10.0  # weight of a pixel that differs from the background, less 1; at least 0
    detail: float = 5.0  # weight of a pixel unlike those around it, less 1; at least 0
    gradient: float = 0.5  # weight of the differences between neighbouring pixels; at least 0
    noise: float = 0.2  # greatest standard deviation of the noise on whitened latents; at least 0

    def __call__(self, output: Tensor, pixels: Tensor, difference: Tensor) -> Tensor:
        """Mean loss of (N, 3, h, w) outputs; ``difference`` (N, 1, h, w) from the background."""
        local = avg_pool2d(pixels, 9, stride=1, padding=4, count_include_pad=False)
        contrast = (pixels - local).abs().amax(1, keepdim=True)
        weight = 1.0 + self.moving * (difference / _MOVING).clamp(max=1.0)
        weight = weight + self.detail * (contrast / _CONTRAST).clamp(max=1.0)
        weight = weight / weight.mean((1, 2, 3), keepdim=True)
        error = output.float() - pixels
        total = (weight * (error.abs() + 2.0 * error.square())).mean()
        down = (error[:, :, 1:] - error[:, :, :-1]).abs() * weight[:, :, 1:]
        right = (error[..., 1:] - error[..., :-1]).abs() * weight[..., 1:]
        return total + self.gradient * (down.mean() + right.mean())


@dataclass(frozen=True)
class Quality:
    """How well a tokenizer gives frames back."""

    psnr: float  # dB, over all pixels
    moving_psnr: float  # dB, over pixels that differ from the background; nan when none does
    moving_share: float  # of pixels that differ, 0..1
    frames: int

    def __str__(self) -> str:
        return (
            f"PSNR {self.psnr:.2f} dB, on moving pixels ({self.moving_share:.1%}) "
            f"{self.moving_psnr:.2f} dB, {self.frames} frames"
        )


def measure(tokenizer: Tokenizer, frames: NDArray[np.uint8]) -> Quality:
    """PSNR of decoded against given frames, overall and where things move.

    Args:
        frames: (S, h, w, 3) uint8, at least one.

    Raises:
        ValueError: Wrong shape or type, or no frame.
    """
    images = _checked(frames)
    still = Backgrounds.find(to_pixels(images[:_STATISTICS_FRAMES]))
    total = moving = 0.0
    count = 0
    for piece in torch.split(images, 256):
        decoded = tokenizer.decode(tokenizer.encode(piece)).cpu().float()
        square = (decoded - piece.float()).square().mean(3)
        moves = still.difference(to_pixels(piece))[:, 0] > _MOVING
        total += float(square.sum())
        moving += float(square[moves].sum())
        count += int(moves.sum())
    pixels = images.shape[0] * images.shape[1] * images.shape[2]
    return Quality(
        psnr=_psnr(total / pixels),
        moving_psnr=_psnr(moving / count) if count else math.nan,
        moving_share=count / pixels,
        frames=len(images),
    )


def train_autoencoder(
    frames: NDArray[np.uint8],
    steps: int = 6000,
    batch_size: int = 16,
    lr: float = 3e-3,
    seed: int = 0,
    device: str | torch.device = "cpu",
    config: AutoencoderConfig | None = None,
    loss: Loss | None = None,
    start: Autoencoder | None = None,
) -> Autoencoder:
    """Trains an autoencoder.

    Args:
        frames: (S, h, w, 3) uint8.
        steps: Optimiser steps, at least 1.
        batch_size: Frames a step, at least 1.
        lr: Greatest learning rate (AdamW; a short rise, then a cosine to zero).
        seed: Of weights, batches and noise.
        device: Where to train.
        config: Sizes; those of ``start`` when it is given.
        loss: What to minimise.
        start: Weights to start from; random ones otherwise. It is not changed.

    Returns:
        The average of the weights over the last steps, with its latent statistics, on ``device``,
        in evaluation mode.

    Raises:
        ValueError: An argument is out of range, frames have a wrong shape or type, or the loss
            stopped being finite.
    """
    for name, number in (("steps", steps), ("batch_size", batch_size), ("lr", lr)):
        if not number > 0:
            raise ValueError(f"{name} of the autoencoder's training is {number}; give more than 0")
    images = _checked(frames)
    rng = np.random.default_rng(seed)

    def drawn(count: int) -> Tensor:
        return images[rng.integers(len(images), size=count)]

    objective = loss or Loss()
    device = torch.device(device)
    known = to_pixels(drawn(_STATISTICS_FRAMES))
    backgrounds = Backgrounds.find(known.to(device), seed=seed)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Autoencoder(start.sizes if start else config)
    if start:
        model.load_state_dict(start.state_dict())
    model.latent_size((known.shape[2], known.shape[3]))
    model.to(device).train()
    average = copy.deepcopy(model)
    generator = torch.Generator(device).manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, betas=(0.9, 0.99), weight_decay=1e-4)
    warmup = min(200, steps // 10 + 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1.0, (step + 1) / warmup) * 0.5 * (1 + math.cos(math.pi * step / steps)),
    )

    bar = tqdm(range(steps), desc="autoencoder", unit="step")
    for step in bar:
        pixels = to_pixels(drawn(batch_size).to(device))
        with computing("auto", device):
            raw = model.pixels_to_raw(pixels).float()
            latents = (raw - raw.mean((0, 2, 3), keepdim=True)) / _spread(raw)
            strength = objective.noise * torch.rand(
                len(raw), 1, 1, 1, generator=generator, device=device
            )
            noise = torch.randn(raw.shape, generator=generator, device=device)
            output = model.raw_to_pixels(latents + strength * noise)
        value = objective(output, pixels, backgrounds.difference(pixels))
        optimizer.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        decay = min(_EMA_DECAY, (1 + step) / (10 + step))
        with torch.no_grad():
            for kept, new in zip(average.parameters(), model.parameters(), strict=True):
                kept.lerp_(new, 1 - decay)
        if step % 50 == 0 or step == steps - 1:
            current = float(value.detach())
            if not math.isfinite(current):
                raise ValueError(
                    f"the autoencoder's loss is {current} at step {step}; lower lr (now {lr})"
                )
            rate = bar.format_dict["rate"] or 0.0
            bar.set_postfix(loss=f"{current:.4f}", frames_s=f"{rate * batch_size:.0f}")
    return _with_statistics(average.eval(), known)


@torch.no_grad()
def _with_statistics(model: Autoencoder, pixels: Tensor) -> Autoencoder:
    """Folds in the latents' mean and spread: what was the batch's becomes the data set's.

    The decoder was trained on whitened latents, ``decode`` hands it unwhitened ones: its first
    convolution would have to take that back, so the whitening moves into the encoder instead.
    """
    raw = torch.cat([model.pixels_to_raw(p.to(model.device)) for p in torch.split(pixels, 256)])
    mean, std = raw.mean((0, 2, 3)), _spread(raw).flatten()
    last = model.encoder[-1]
    assert isinstance(last, torch.nn.Conv2d) and last.bias is not None
    last.weight.div_(std.view(-1, 1, 1, 1))
    last.bias.sub_(mean).div_(std)
    model.latent_mean.zero_()
    model.latent_std.fill_(1.0)
    return model


def _spread(raw: Tensor) -> Tensor:
    """Standard deviation of each channel, (1, C, 1, 1); the floor keeps a dead channel finite."""
    return raw.var((0, 2, 3), keepdim=True, unbiased=False).add(1e-6).sqrt()


def _checked(frames: NDArray[np.uint8]) -> Tensor:
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or not len(frames):
        raise ValueError(
            f"frames for the autoencoder have shape {frames.shape} and type {frames.dtype}; "
            "give (frames, height, width, 3) of type uint8, at least one"
        )
    return torch.as_tensor(frames)


def _psnr(mean_square: float) -> float:
    return 10 * math.log10(255.0**2 / max(mean_square, 1e-3))
