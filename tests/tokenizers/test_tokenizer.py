"""Tokenizers: shapes, exactness, errors, storage."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_world import world_model

from selfflow_robotics.tokenizers import (
    Autoencoder,
    AutoencoderConfig,
    Patches,
    Tokenizer,
    build,
    load,
    save,
)

SMALL = AutoencoderConfig(channels=4, widths=(8, 8, 16))


def noise_images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)


@pytest.mark.parametrize("factor", [1, 4, 8, 16])
@pytest.mark.parametrize("std", [0.5, 0.37, 1.0])
def test_patches_give_every_pixel_back(factor: int, std: float) -> None:
    patches = Patches(factor, mean=0.1, std=std)
    every_level = np.arange(256, dtype=np.uint8).reshape(16, 16)
    images = np.stack([every_level, every_level.T, every_level[::-1]], -1)[None]
    np.testing.assert_array_equal(patches.decode(patches.encode(images)).numpy(), images)
    images = noise_images(3, 48, 64)
    np.testing.assert_array_equal(patches.decode(patches.encode(images)).numpy(), images)


def test_patches_keep_places() -> None:
    images = np.zeros((1, 16, 24, 3), np.uint8)
    images[0, 9, 17] = 255
    changed = (Patches(8).encode(images) != Patches(8).encode(images * 0)).any(1)[0]
    assert changed.nonzero().tolist() == [[1, 2]]


@pytest.mark.parametrize("make", [Patches, lambda: Autoencoder(SMALL)])
def test_leading_axes_stay(make: Callable[[], Tokenizer]) -> None:
    tokenizer = make().eval()
    assert tokenizer.factor == 8
    for leading in [(), (2,), (2, 3), (0,), (2, 0)]:
        images = noise_images(*leading, 32, 48)
        latents = tokenizer.encode(images)
        assert latents.shape == (*leading, tokenizer.channels, 4, 6)
        assert latents.dtype == torch.float32
        decoded = tokenizer.decode(latents)
        assert decoded.shape == images.shape
        assert decoded.dtype == torch.uint8


def test_arrays_and_tensors_encode_alike() -> None:
    images = noise_images(2, 32, 48)
    tokenizer = Autoencoder(SMALL)
    assert torch.equal(tokenizer.encode(images), tokenizer.encode(torch.from_numpy(images)))


def test_many_images_encode_as_few_do() -> None:
    images = noise_images(300, 64, 80)
    tokenizer = Patches(8)
    assert torch.equal(tokenizer.encode(images)[250:], tokenizer.encode(images[250:]))


def test_factor_follows_levels() -> None:
    assert Autoencoder(AutoencoderConfig(channels=4, widths=(8,))).factor == 2
    deep = Autoencoder(AutoencoderConfig(channels=4, widths=(8, 8, 8, 8)))
    assert deep.decode(deep.encode(noise_images(1, 32, 64))).shape == (1, 32, 64, 3)
    assert deep.latent_size((256, 320)) == (16, 20)


def test_shipped_size_is_small() -> None:
    assert sum(p.numel() for p in Autoencoder().parameters()) <= 650_000


def test_pictures_of_any_layout_have_the_same_latents() -> None:
    images, tokenizer = noise_images(2, 32, 48), Patches(8)
    wanted = tokenizer.encode(images)
    for same in (
        images / 255,
        np.ascontiguousarray(images[:, ::-1])[:, ::-1],
        np.moveaxis(images, -1, 1),
        (images / 255).astype(">f4"),
        torch.from_numpy(images).permute(0, 3, 1, 2),
    ):
        torch.testing.assert_close(tokenizer.encode(same), wanted, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (noise_images(2, 30, 48), "multiples of 8"),
        (noise_images(2, 32, 48).astype(np.float32), "float32 from 0 to 255"),
        (np.full((32, 48, 3), np.nan), "from nan"),
        (None, "height, width, 3"),
        (np.zeros((3,), np.uint8), "height, width, 3"),
    ],
)
def test_images_that_do_not_fit(images: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Autoencoder(SMALL).encode(images)


def test_latents_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match=r"give \(\.\.\., 4, "):
        Autoencoder(SMALL).decode(torch.zeros(1, 5, 4, 6))


@pytest.mark.parametrize("values", [{"channels": 0}, {"widths": ()}, {"widths": (8, 0)}])
def test_sizes_out_of_range(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        AutoencoderConfig(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [lambda: Patches(4, 0.2, 0.6), lambda: Autoencoder(SMALL)])
def test_stored_tokenizer_is_the_same(make: Callable[[], Tokenizer], tmp_path: Path) -> None:
    tokenizer = make()
    save(tokenizer, tmp_path / "deep" / "tokenizer")
    again = load(tmp_path / "deep" / "tokenizer")
    assert dict(again.config) == dict(tokenizer.config)
    assert type(build(json.loads(json.dumps(dict(tokenizer.config))))) is type(tokenizer)
    images = noise_images(2, 32, 48)
    assert torch.equal(again.encode(images), tokenizer.encode(images))
    assert not again.training
    assert sorted(p.name for p in (tmp_path / "deep").iterdir()) == ["tokenizer"]


def test_saving_replaces_a_tokenizer_but_nothing_else(tmp_path: Path) -> None:
    save(Patches(8), tmp_path / "t")
    Autoencoder(SMALL).save_pretrained(tmp_path / "t")
    assert Autoencoder.from_pretrained(tmp_path / "t").channels == 4
    (tmp_path / "t" / "thesis.tex").write_text("years of work")
    with pytest.raises(FileExistsError, match="choose another folder"):
        save(Patches(8), tmp_path / "t")
    assert (tmp_path / "t" / "thesis.tex").exists()


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no config\.json"):
        load(tmp_path / "nowhere")


def test_a_world_models_folder_is_its_tokenizers_too(tmp_path: Path) -> None:
    model = world_model()
    model.tokenizer = Patches(2, mean=0.1234567, std=0.3456789)  # no bfloat16 numbers
    model.save_pretrained(str(tmp_path / "model"))
    again = load(tmp_path / "model")
    assert again.config == model.tokenizer.config
    images = noise_images(2, 8, 12)
    assert torch.equal(again.encode(images), model.tokenizer.encode(images))


def test_another_kind(tmp_path: Path) -> None:
    save(Patches(8), tmp_path / "t")
    with pytest.raises(ValueError, match="'patches', not an autoencoder"):
        Autoencoder.from_pretrained(tmp_path / "t")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a model's configuration"),
        ("[1]", "not a model's configuration"),
        ('{"tokenizer": "vqgan"}', "'vqgan' is unknown"),
        ('{"tokenizer": "wan"}', "does not fit"),
        ('{"tokenizer": "patches", "size": 3}', "does not fit"),
        ('{"tokenizer": "patches", "factor": "a"}', "does not fit"),
        ('{"tokenizer": "autoencoder", "channels": 0}', "at least one channel"),
    ],
)
def test_wrong_configuration_file(text: str, message: str, tmp_path: Path) -> None:
    save(Patches(8), tmp_path / "t")
    (tmp_path / "t" / "config.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "t")


@pytest.mark.parametrize("kept", [0, 5, 200, -10])
def test_truncated_weights(kept: int, tmp_path: Path) -> None:
    save(Autoencoder(SMALL), tmp_path / "t")
    path = tmp_path / "t" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"model\.safetensors is truncated"):
        load(tmp_path / "t")


def test_weights_of_another_size(tmp_path: Path) -> None:
    save(Autoencoder(SMALL), tmp_path / "a")
    save(Autoencoder(AutoencoderConfig(channels=4, widths=(8, 8, 8))), tmp_path / "b")
    (tmp_path / "a" / "config.json").write_text((tmp_path / "b" / "config.json").read_text())
    with pytest.raises(ValueError, match=r"model\.safetensors is .*of another model"):
        load(tmp_path / "a")
