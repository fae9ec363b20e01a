"""A deterministic vector for an instruction, where RT-1 stores a sentence embedding."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

EMBEDDING_SIZE = 512


@lru_cache(maxsize=4096)
def embed_instruction(instruction: str) -> NDArray[np.float32]:
    """Hashed bag of words, (512,) of unit length, read-only; case does not matter.

    It is not the Universal Sentence Encoder of the real data set: it knows words, not meanings. It
    has the real one's shape and norm, so that tools that read RT-1 work. A text without words has
    the first unit vector.
    """
    total = np.zeros(EMBEDDING_SIZE)
    for word in instruction.lower().split():
        seed = int.from_bytes(blake2b(word.encode(), digest_size=8).digest(), "big")
        total += np.random.default_rng(seed).standard_normal(EMBEDDING_SIZE)
    norm = float(np.linalg.norm(total))
    if norm == 0.0:
        total[0] = norm = 1.0
    embedding = (total / norm).astype(np.float32)
    embedding.flags.writeable = False
    return embedding
