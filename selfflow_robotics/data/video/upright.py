"""Pictures as they are to be seen: cameras store them sideways, with a note how to turn them."""

from __future__ import annotations

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray


def upright(image: NDArray[np.uint8], frame: VideoFrame) -> NDArray[np.uint8]:
    """The picture (height, width, 3) of a frame, turned as its file asks.

    Raises:
        ValueError: it asks for another angle than a multiple of 90 degrees.
    """
    turns, rest = divmod(frame.rotation, 90)
    if rest:
        raise ValueError(f"its frames are to be turned by {frame.rotation} degrees")
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image
