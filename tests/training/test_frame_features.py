from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_encoder import WIDTH, write_encoder
from tiny_world import FACTOR, IMAGE, PATCH, N

from selfflow_robotics.tokenizers.patches import Patches
from selfflow_robotics.training.frame_features import FrameFeatures

B, T = 2, 3


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("encoder") / "dinov2")


def images(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (B, T, *IMAGE, 3), dtype=np.uint8)


def test_features_are_those_of_the_encoder_on_normalised_frames_a_patch_a_token(
    encoder: Path,
) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer, frames = Patches(FACTOR), images()
    features = FrameFeatures(str(encoder), tokenizer, PATCH)
    found = features(tokenizer.encode(frames))
    assert found.shape == (B, T, N, WIDTH) and features.width == WIDTH
    # Two rows and three columns of tokens, each four pixels: 28x42 pixels of the same picture.
    model = transformers.Dinov2Model.from_pretrained(encoder).eval()
    frame = torch.from_numpy(frames[1, 2]).permute(2, 0, 1)[None] / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    frame = (frame - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    pixels = torch.nn.functional.interpolate(frame, (28, 42), mode="bicubic", antialias=True)
    with torch.no_grad():
        expected = model(pixels).last_hidden_state[0, 1:]
    torch.testing.assert_close(found[1, 2], expected, atol=2e-4, rtol=1e-4)


def test_a_token_answers_for_its_own_place(encoder: Path) -> None:
    """With attention of all to all others change too, but none as much as the one that differs."""
    tokenizer = Patches(FACTOR)
    features = FrameFeatures(str(encoder), tokenizer, PATCH)
    frames = images()[:1, :1]
    before = features(tokenizer.encode(frames))
    for token in range(N):
        row, column = divmod(token, 3)
        other = frames.copy()
        other[:, :, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4] ^= 255
        changed = (features(tokenizer.encode(other)) - before).norm(dim=-1)[0, 0]
        assert changed.argmax() == token


def test_the_encoder_is_frozen_and_gives_the_same_each_time(encoder: Path) -> None:
    tokenizer = Patches(FACTOR)
    features = FrameFeatures(str(encoder), tokenizer, PATCH)
    latents = tokenizer.encode(images()).requires_grad_()
    found = features(latents)
    assert not found.requires_grad
    assert torch.equal(found, features(latents))
    assert not any(p.requires_grad for p in features.encoder.parameters())


def test_a_model_that_is_not_a_whole_dinov2_is_a_sentence(encoder: Path, tmp_path: Path) -> None:
    config = json.loads((encoder / "config.json").read_text())
    weights = load_file(encoder / "model.safetensors")
    other, part, pickled = (tmp_path / name for name in ("vit", "part", "pickled"))
    for folder in (other, part, pickled):
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config))
    (other / "config.json").write_text(json.dumps({**config, "model_type": "vit"}))
    save_file(
        {k: v for k, v in weights.items() if "layer.1.mlp" not in k},
        part / "model.safetensors",
        {"format": "pt"},
    )
    torch.save(weights, pickled / "pytorch_model.bin")
    for folder, sentence in (
        (other, 'a model of type "vit"'),
        (part, "lacks 4 weights, the first encoder.layer.1.mlp.fc1.bias"),
        (pickled, "give the folder of a DINOv2 model with config.json and model.safetensors"),
        (tmp_path / "nothing", "give the folder of a DINOv2 model"),
    ):
        with pytest.raises(ValueError, match=sentence):
            FrameFeatures(str(folder), Patches(FACTOR), PATCH)
