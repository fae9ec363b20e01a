"""The words of templated instructions as small integers."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_WORDS = 16


@dataclass(frozen=True)
class Vocabulary:
    """Known words; index 0 is "no word", word i has index i + 1."""

    words: tuple[str, ...]

    @classmethod
    def of(cls, instructions: Iterable[str]) -> Vocabulary:
        """The words of these instructions, in alphabetical order."""
        return cls(tuple(sorted({word for text in instructions for word in text.lower().split()})))

    @property
    def size(self) -> int:
        """Number of indices, "no word" included."""
        return len(self.words) + 1

    def encode(self, instructions: Sequence[str]) -> NDArray[np.int64]:
        """Word indices (B, MAX_WORDS); an empty instruction is all zeros.

        Raises:
            ValueError: an unknown word (the message suggests a known one) or too many words.
        """
        index = {word: i for i, word in enumerate(self.words, start=1)}
        out = np.zeros((len(instructions), MAX_WORDS), dtype=np.int64)
        for row, text in enumerate(instructions):
            words = text.lower().split()
            if len(words) > MAX_WORDS:
                raise ValueError(
                    f'instruction "{text}" has more than {MAX_WORDS} words; shorten it'
                )
            for column, word in enumerate(words):
                if word not in index:
                    near = difflib.get_close_matches(word, self.words, n=1)
                    hint = (
                        f'did you mean "{near[0]}"?' if near else f"it knows {sorted(self.words)}"
                    )
                    raise ValueError(
                        f'the model was not trained on the word "{word}" of "{text}"; {hint}'
                    )
                out[row, column] = index[word]
        return out
