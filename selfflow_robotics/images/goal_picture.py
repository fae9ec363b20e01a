"""A picture of what to reach, from a file of the user's."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_EIGHT_BIT = {"1", "L", "P", "RGB", "RGBA", "LA", "PA", "CMYK", "YCbCr", "HSV", "LAB"}


def read_goal_picture(path: Path) -> NDArray[np.uint8]:
    """The pixels (height, width, 3), turned as the file asks, on black where it is transparent.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no picture, damaged, larger than Pillow allows, or not of eight bits.
    """
    import numpy as np
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as stored:
                if stored.mode not in _EIGHT_BIT:
                    raise ValueError(
                        f"goal={path} holds pixels of the kind {stored.mode!r}; give a picture of "
                        "eight bits a colour"
                    )
                turned = ImageOps.exif_transpose(stored)
                if turned.has_transparency_data:
                    turned = Image.alpha_composite(
                        Image.new("RGBA", turned.size, "black"), turned.convert("RGBA")
                    )
                return np.asarray(turned.convert("RGB"))
    except UnidentifiedImageError:
        raise ValueError(f"goal={path} is no picture; give a PNG or JPEG file") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(f"goal={path} is too large: {error}") from None
    except (OSError, SyntaxError, EOFError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # of the system, which names the file
        raise ValueError(f"goal={path} is damaged ({error}); copy it again") from None
