from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_world import GRID, IMAGE, N, world_model
from torch import Tensor

from selfflow_robotics.tokenizers.patches import Patches
from selfflow_robotics.training.config import ObjectiveConfig
from selfflow_robotics.training.dino_features import load_dino
from selfflow_robotics.training.recipe import build_objective

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    config = transformers.Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14
    )
    path = tmp_path_factory.mktemp("dino")
    transformers.Dinov2Model(config).save_pretrained(path)
    return path


def test_features_are_of_decoded_frames_a_patch_a_token(folder: Path) -> None:
    tokenizer = Patches(2)
    features = load_dino(str(folder), tokenizer, GRID)
    images = torch.randint(0, 256, (2, 3, *IMAGE, 3), dtype=torch.uint8)
    found: Tensor = features(tokenizer.encode(images))
    assert found.shape == (2, 3, N, 32) and features.width == 32
    assert not found.requires_grad
    assert not any(p.requires_grad for p in features.encoder.parameters())
    # A frame of one colour: resizing leaves it, so the encoder's own answer is known.
    grey = torch.full((1, 1, *IMAGE, 3), 128, dtype=torch.uint8)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = ((128 / 255 - mean) / std).view(1, 3, 1, 1).expand(1, 3, 28, 42)
    with torch.no_grad():
        expected = features.encoder(pixel_values=pixels).last_hidden_state[:, 1:]
    torch.testing.assert_close(features(tokenizer.encode(grey))[0], expected, atol=1e-3, rtol=1e-3)


def test_repa_is_built_from_a_folder(folder: Path) -> None:
    objective = build_objective(ObjectiveConfig("repa", encoder=str(folder)), world_model(), 1)
    assert objective.name == "repa" and objective.noising.mask_ratio == 0
    assert objective.projector(32)(torch.zeros(1, 32)).shape == (1, 32)


def test_another_model_or_none_is_a_sentence(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is neither a folder with"):
        load_dino(str(tmp_path), Patches(2), GRID)
    other = transformers.ViTConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2)
    transformers.ViTModel(other).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is a vit; give a DINOv2"):
        load_dino(str(tmp_path), Patches(2), GRID)
