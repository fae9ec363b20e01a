"""Text models of transformers small enough for tests, with random weights and real tokenizers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

WIDTH = 24


def write_t5(folder: Path) -> Path:
    """A whole T5 (encoder and decoder), as most are published, and its tokenizer."""
    transformers = pytest.importorskip("transformers")
    letters = [(f"▁{a}", -2.0) for a in "abcdefghijklmnopqrstuvwxyz"]
    letters += [(a, -3.0) for a in "abcdefghijklmnopqrstuvwxyz"]
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *letters]
    tokenizer = transformers.T5Tokenizer(vocab=vocabulary, extra_ids=0)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.T5Config(
        vocab_size=len(tokenizer), d_model=WIDTH, d_kv=8, d_ff=32, num_layers=2, num_heads=3
    )
    transformers.T5ForConditionalGeneration(config).save_pretrained(folder)
    return folder


def write_clip(folder: Path, *, whole: bool = True) -> Path:
    """CLIP of both towers, or its text model alone, and its tokenizer."""
    transformers = pytest.importorskip("transformers")
    letters = "abcdefghijklmnopqrstuvwxyz"
    names = [*letters, *(f"{a}</w>" for a in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({name: i for i, name in enumerate(names)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16
    )
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = transformers.CLIPTextConfig(
        vocab_size=len(names),
        intermediate_size=32,
        max_position_embeddings=16,
        bos_token_id=len(names) - 2,
        eos_token_id=len(names) - 1,
        **sizes,
    )
    if not whole:
        transformers.CLIPTextModel(text).save_pretrained(folder)
        return folder
    vision = transformers.CLIPVisionConfig(image_size=8, patch_size=4, **sizes)
    config = transformers.CLIPConfig(
        text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=8
    )
    transformers.CLIPModel(config).save_pretrained(folder)
    return folder
