"""What a frozen text encoder makes of captions: a vector for each distinct one, made once a run."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F
from tqdm import tqdm

from ..data.clips import LatentEpisodes
from ..machine.extras import require
from ..storage.digests import text_digest
from ..storage.whole_file import write_whole

_BATCH = 32
_MAX_TOKENS = 512


class TextEncoder:
    """A text model of transformers: an encoder as T5's, CLIP's text model, or a language model.

    A text's vector is the mean of the last hidden state over its tokens, brought to mean 0 and
    deviation 1: encoders differ much in the size of what they give. Texts are cut to the tokens
    that the model takes (CLIP: 77), and to 512.

    Only configuration and tokenizer are read at first; weights when there is something to encode.

    Args:
        name: folder of a model and its tokenizer as transformers stores them, or its name on the
            Hub, such as google-t5/t5-base.

    Raises:
        MissingExtraError: transformers is not installed.
        ValueError: there is no such model, or it does not read text.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        transformers = require("transformers", "transformers")
        try:
            config = transformers.AutoConfig.from_pretrained(name, trust_remote_code=False)
            self._config = config.get_text_config()
            self.width = int(self._config.hidden_size)
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(
                name, trust_remote_code=False
            )
            if not self._tokenizer("a").get("input_ids"):
                raise ValueError("its tokenizer makes no tokens of text")
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise self._unusable(error) from error
        self._class = _class_of(transformers, config)

    @torch.no_grad()
    def encode(self, texts: list[str], device: torch.device | str) -> NDArray[np.float32]:
        """Vectors (len(texts), E); that of an empty text is zeros.

        Raises:
            ValueError: the model's weights cannot be read, or what it makes is not finite.
        """
        vectors = np.zeros((len(texts), self.width), np.float32)
        given = [i for i, text in enumerate(texts) if text]
        if not given:
            return vectors
        model, limit = self._load().to(device), self._limit()
        tokens = {i: self._tokenizer(texts[i], truncation=True, max_length=limit) for i in given}
        # Texts of one length go together, so that none is padded.
        given.sort(key=lambda i: len(tokens[i]["input_ids"]))
        bar = tqdm(total=len(given), desc="encoding captions", unit="text", delay=2)
        while given:
            size = len(tokens[given[0]]["input_ids"])
            batch = [i for i in given[:_BATCH] if len(tokens[i]["input_ids"]) == size]
            given = given[len(batch) :]
            ids = torch.tensor([tokens[i]["input_ids"] for i in batch], device=device)
            seen = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
            made = F.layer_norm(seen.float().mean(dim=1), (self.width,)).cpu().numpy()
            if not np.isfinite(made).all():
                raise ValueError(
                    f"text_encoder={self.name} makes vectors that are not finite, of "
                    f'"{texts[batch[0]][:60]}" or one like it; copy the model again'
                )
            vectors[batch] = made
            bar.update(len(batch))
        bar.close()
        return vectors

    def _limit(self) -> int:
        positions = getattr(self._config, "max_position_embeddings", None) or _MAX_TOKENS
        return int(min(self._tokenizer.model_max_length, positions, _MAX_TOKENS))

    def _load(self) -> Any:
        try:
            model, report = self._class.from_pretrained(
                self.name,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.float32,
                output_loading_info=True,
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise self._unusable(error) from error
        if missing := sorted(report["missing_keys"]):
            raise self._unusable(f"it lacks {len(missing)} weights, the first {missing[0]}")
        return model.requires_grad_(False).eval()

    def _unusable(self, why: Exception | str) -> ValueError:
        reason = " ".join(str(why).split())
        return ValueError(
            f"text_encoder={self.name} cannot be used ({reason}); give the folder of a text model "
            "with config.json, model.safetensors and its tokenizer, or a name on the Hub: "
            "google-t5/t5-base"
        )


def _class_of(transformers: Any, config: Any) -> Any:
    """The class that reads text, of models that do more than that."""
    if config.model_type == "clip":
        return transformers.CLIPTextModel
    if type(config) in transformers.MODEL_FOR_TEXT_ENCODING_MAPPING:
        return transformers.AutoModelForTextEncoding
    return transformers.AutoModel


def tell_vectors(
    episodes: LatentEpisodes, encoder: TextEncoder, kept: Path, device: torch.device | str
) -> LatentEpisodes:
    """The same episodes with the vectors of their texts, encoded once and kept in a file.

    Args:
        kept: the file, of this run alone; what lies there is read if it is of the same texts.

    Raises:
        ValueError: no episode has a text, or the file is damaged or of another encoder.
    """
    texts = [str(text) for text in episodes.texts]
    if not any(texts):
        raise ValueError(
            f"there is no caption for text_encoder={encoder.name} to read: put NAME.txt beside "
            'NAME.mp4 (in shards too, or NAME.json with its "caption"), or leave text_encoder out'
        )
    vectors = _read(kept, encoder, texts)
    if vectors is None:
        vectors = encoder.encode(texts, device)
        buffer = io.BytesIO()
        np.savez(buffer, encoder=encoder.name, texts=text_digest(*texts), vectors=vectors)
        write_whole(kept, buffer.getvalue())
    return replace(episodes, vectors=vectors)


def _read(kept: Path, encoder: TextEncoder, texts: list[str]) -> NDArray[np.float32] | None:
    """What was kept; None where it is nothing, or of other texts."""
    if not kept.exists():
        return None
    try:
        with np.load(kept) as found:
            of, name = str(found["texts"]), str(found["encoder"])
            vectors: NDArray[np.float32] = found["vectors"]
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{kept} is truncated or damaged ({error}); remove it and run again"
        ) from None
    if name != encoder.name or vectors.shape[1] != encoder.width:
        raise ValueError(
            f"this run was begun with text_encoder={name}, whose vectors {kept} holds; go on with "
            "it, or train anew into another output"
        )
    return vectors if of == text_digest(*texts) else None
