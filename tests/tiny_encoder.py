"""A DINOv2 model small enough for tests, with random weights, as transformers stores it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

WIDTH = 24


def write_encoder(folder: Path) -> Path:
    """The model's folder; skips the test where transformers is not installed."""
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    config = transformers.Dinov2Config(
        hidden_size=WIDTH,
        num_hidden_layers=2,
        num_attention_heads=2,
        mlp_ratio=2,
        image_size=42,
        patch_size=14,
    )
    transformers.Dinov2Model(config).save_pretrained(folder)
    return folder
