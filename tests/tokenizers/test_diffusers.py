"""Autoencoders of diffusers as tokenizers, with random weights of their real configurations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

diffusers = pytest.importorskip("diffusers", reason="needs the extra [diffusers]")

from selfflow_robotics.cli.config import compose  # noqa: E402
from selfflow_robotics.cli.tokenizer import Config, run  # noqa: E402
from selfflow_robotics.tokenizers.stable_diffusion import StableDiffusion  # noqa: E402
from selfflow_robotics.tokenizers.stored import load, save  # noqa: E402
from selfflow_robotics.tokenizers.wan import Wan  # noqa: E402

# config.json of stabilityai/sd-vae-ft-ema.
SD_VAE = {
    "act_fn": "silu",
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "in_channels": 3,
    "latent_channels": 4,
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "out_channels": 3,
    "sample_size": 256,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
}
# vae/config.json of Wan-AI/Wan2.2-TI2V-5B-Diffusers.
WAN = {
    "attn_scales": [],
    "base_dim": 160,
    "decoder_base_dim": 256,
    "dim_mult": [1, 2, 4, 4],
    "dropout": 0.0,
    "in_channels": 12,
    "is_residual": True,
    "num_res_blocks": 2,
    "out_channels": 12,
    "patch_size": 2,
    "scale_factor_spatial": 16,
    "scale_factor_temporal": 4,
    "temperal_downsample": [False, True, True],
    "z_dim": 48,
    "latents_mean": [
        *(-0.2289, -0.0052, -0.1323, -0.2339, -0.2799, 0.0174, 0.1838, 0.1557, -0.1382, 0.0542),
        *(0.2813, 0.0891, 0.157, -0.0098, 0.0375, -0.1825, -0.2246, -0.1207, -0.0698, 0.5109),
        *(0.2665, -0.2108, -0.2158, 0.2502, -0.2055, -0.0322, 0.1109, 0.1567, -0.0729, 0.0899),
        *(-0.2799, -0.123, -0.0313, -0.1649, 0.0117, 0.0723, -0.2839, -0.2083, -0.052, 0.3748),
        *(0.0152, 0.1957, 0.1433, -0.2944, 0.3573, -0.0548, -0.1681, -0.0667),
    ],
    "latents_std": [
        *(0.4765, 1.0364, 0.4514, 1.1677, 0.5313, 0.499, 0.4818, 0.5013, 0.8158, 1.0344),
        *(0.5894, 1.0901, 0.6885, 0.6165, 0.8454, 0.4978, 0.5759, 0.3523, 0.7135, 0.6804),
        *(0.5833, 1.4146, 0.8986, 0.5659, 0.7069, 0.5338, 0.4889, 0.4917, 0.4069, 0.4999),
        *(0.6866, 0.4093, 0.5709, 0.6065, 0.6415, 0.4944, 0.5726, 1.2042, 0.5458, 1.6887),
        *(0.3971, 1.06, 0.3943, 0.5537, 0.5444, 0.4089, 0.7468, 0.7744),
    ],
}
NARROW_WAN = {**WAN, "base_dim": 8, "decoder_base_dim": 8, "num_res_blocks": 1}
NARROW_SD = {**SD_VAE, "block_out_channels": [16, 16, 16, 16], "norm_num_groups": 4}


def images(frames: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    small = torch.rand(1, 3 * frames, 4, 4, generator=generator) * 255
    smooth = torch.nn.functional.interpolate(small, (height, width), mode="bilinear")
    return smooth.view(frames, 3, height, width).permute(0, 2, 3, 1).to(torch.uint8)


@pytest.fixture(scope="module")
def narrow_wan() -> Wan:
    torch.manual_seed(0)
    return Wan(NARROW_WAN).eval()


def test_sd_vae_of_the_real_configuration() -> None:
    torch.manual_seed(0)
    tokenizer = StableDiffusion(SD_VAE).eval()
    assert sum(p.numel() for p in tokenizer.parameters()) == 83_653_863
    assert (tokenizer.channels, tokenizer.factor, tokenizer.temporal) == (4, 8, 1)
    given = images(1, 16, 24)
    latents = tokenizer.encode(given)
    assert latents.shape == (1, 4, 2, 3)
    pixels = given.permute(0, 3, 1, 2) / 127.5 - 1
    raw = tokenizer.vae.encode(pixels).latent_dist.mean
    torch.testing.assert_close(latents, raw * 0.18215, rtol=1e-4, atol=1e-5)
    decoded = tokenizer.decode(latents)
    shown = tokenizer.vae.decode(latents / 0.18215).sample.permute(0, 2, 3, 1)
    expected = ((shown + 1) * 127.5).round().clamp(0, 255)
    assert decoded.shape == (1, 16, 24, 3)
    assert (decoded.float() - expected).abs().max() <= 1


def test_wan_of_the_real_configuration() -> None:
    """704,688,668 parameters, 2.82 GB in fp32, as published; without memory for them here."""
    with torch.device("meta"):
        tokenizer = Wan(WAN)
        assert sum(p.numel() for p in tokenizer.parameters()) == 704_688_668
        assert (tokenizer.channels, tokenizer.factor, tokenizer.temporal) == (48, 16, 4)
        found = tokenizer.vae.encode(torch.zeros(1, 3, 9, 256, 320)).latent_dist.mode()
        assert found.shape == (1, 48, 3, 16, 20)
    assert tokenizer.latent_size((256, 320)) == (16, 20)


def test_wan_normalises_by_the_published_statistics(narrow_wan: Wan) -> None:
    assert narrow_wan.latent_mean[0] == pytest.approx(-0.2289)
    assert narrow_wan.latent_std[47] == pytest.approx(0.7744)
    given = images(5, 32, 48)
    video = (given.permute(3, 0, 1, 2) / 127.5 - 1)[None]
    raw = narrow_wan.vae.encode(video).latent_dist.mean[0].transpose(0, 1)
    mean, std = (torch.tensor(WAN[key])[:, None, None] for key in ("latents_mean", "latents_std"))
    torch.testing.assert_close(
        narrow_wan.encode_video(given), (raw - mean) / std, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize(("frames", "kept"), [(1, 1), (4, 1), (5, 2), (8, 2), (9, 3)])
def test_wan_makes_one_latent_frame_of_four(narrow_wan: Wan, frames: int, kept: int) -> None:
    latents = narrow_wan.encode_video(images(frames, 32, 48))
    assert latents.shape == (kept, 48, 2, 3)
    assert narrow_wan.decode_video(latents).shape == (1 + 4 * (kept - 1), 32, 48, 3)
    # Causal: a latent frame knows nothing of later frames.
    whole = narrow_wan.encode_video(images(frames, 32, 48)[: 4 * (kept - 1) + 1])
    torch.testing.assert_close(latents, whole)
    first = narrow_wan.encode(images(frames, 32, 48)[:1])
    torch.testing.assert_close(latents[:1], first, rtol=1e-4, atol=1e-4)


def test_image_wise_tokenizers_take_a_video_frame_by_frame() -> None:
    torch.manual_seed(0)
    tokenizer = StableDiffusion(NARROW_SD).eval()
    given = images(3, 32, 40)
    latents = tokenizer.encode_video(given)
    torch.testing.assert_close(latents, tokenizer.encode(given))
    assert torch.equal(tokenizer.decode_video(latents), tokenizer.decode(latents))


@pytest.mark.parametrize("kind", ["sd-vae", "wan"])
def test_command_takes_over_what_diffusers_wrote(tmp_path: Path, kind: str) -> None:
    """A folder of the model, and that of a pipeline with the model in `vae`."""
    torch.manual_seed(0)
    if kind == "sd-vae":
        model, source = diffusers.AutoencoderKL(**NARROW_SD), tmp_path / "model"
        model.save_pretrained(source)
    else:
        model, source = diffusers.AutoencoderKLWan(**NARROW_WAN), tmp_path / "pipeline"
        model.save_pretrained(source / "vae")
    words = [f"out={tmp_path / 't'}", f"kind={kind}", f"start={source}"]
    assert run(compose("tokenizer", Config, words)) == 0
    tokenizer = load(tmp_path / "t")
    assert not tokenizer.training and tokenizer.config["tokenizer"] == kind
    for name, value in model.state_dict().items():
        assert torch.equal(tokenizer.state_dict()[f"vae.{name}"], value), name
    again = tmp_path / "again"
    save(tokenizer, again)
    given = images(5, 32, 48)
    assert torch.equal(load(again).encode_video(given), tokenizer.encode_video(given))
    assert np.isfinite(tokenizer.encode_video(given).numpy()).all()


def test_what_is_no_such_model_is_a_sentence(tmp_path: Path) -> None:
    diffusers.AutoencoderKL(**NARROW_SD).save_pretrained(tmp_path / "sd")
    with pytest.raises(ValueError, match=r"holds a model of class AutoencoderKL, not Autoencoder"):
        Wan.from_pretrained(tmp_path / "sd")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"is no folder or Hub repository of AutoencoderKL"):
        StableDiffusion.from_pretrained(tmp_path / "empty")
    diffusers.AutoencoderKL(**NARROW_SD).save_pretrained(
        tmp_path / "pickle", safe_serialization=False
    )
    with pytest.raises(FileNotFoundError, match="safetensors"):
        StableDiffusion.from_pretrained(tmp_path / "pickle")
    with pytest.raises(ValueError, match="add start=FOLDER"):
        run(compose("tokenizer", Config, [f"out={tmp_path / 't'}", "kind=wan"]))
    with pytest.raises(ValueError, match="does not fit"):
        StableDiffusion({**NARROW_SD, "depth": 3})
    with pytest.raises(ValueError, match="one a channel"):
        Wan({**NARROW_WAN, "z_dim": 16})


@pytest.mark.parametrize("shape", [(32, 48, 3), (0, 32, 48, 3), (5, 24, 48, 3)])
def test_videos_of_wrong_shapes_are_sentences(narrow_wan: Wan, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"a video to encode|multiples of 16"):
        narrow_wan.encode_video(torch.zeros(shape, dtype=torch.uint8))
