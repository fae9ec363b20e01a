from __future__ import annotations

import numpy as np
import pytest
from selfflow_robotics.envs.physics_video import PhysicsVideo

from selfflow_robotics.data.fitted import Fitted, fitted
from selfflow_robotics.images.fit import ImageFit, divisible


def picture(height: int, width: int) -> np.ndarray:
    """Grey, with a white frame of two pixels."""
    image = np.full((1, height, width, 3), 100, np.uint8)
    image[:, :2] = image[:, -2:] = image[:, :, :2] = image[:, :, -2:] = 255
    return image


def test_cropping_keeps_the_middle_and_the_proportions() -> None:
    found = ImageFit((176, 320))(picture(180, 320))
    assert found.shape == (1, 176, 320, 3)
    assert (found[0, 0, 10:-10] == 100).all() and (found[0, :, 0] == 255).all()


def test_padding_keeps_everything_and_adds_black_at_both_sides() -> None:
    found = ImageFit((192, 320), "pad")(picture(180, 320))
    assert not found[0, :6].any() and not found[0, -6:].any()
    assert (found[0, 6:-6] == picture(180, 320)[0]).all()


@pytest.mark.parametrize("how", ["crop", "pad"])
def test_pictures_of_that_size_are_left_as_they_are(how: str) -> None:
    given = picture(64, 80)
    assert ImageFit((64, 80), how)(given) is given  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("size", "crop", "pad"),
    [
        ((180, 320), (176, 320), (192, 320)),  # DROID
        ((360, 640), (352, 640), (368, 640)),  # Language-Table
        ((84, 84), (80, 80), (96, 96)),
        ((256, 320), (256, 320), (256, 320)),  # RT-1
        ((5, 300), (16, 288), (16, 304)),
    ],
)
def test_the_nearest_size_that_divides(
    size: tuple[int, int], crop: tuple[int, int], pad: tuple[int, int]
) -> None:
    assert divisible(size, 16, "crop") == crop and divisible(size, 16, "pad") == pad
    for fit in (ImageFit(crop), ImageFit(pad, "pad")):
        assert fit(picture(*size)).shape == (1, *fit.size, 3)


@pytest.mark.parametrize(
    ("fit", "given", "said"),
    [
        (
            ImageFit((176, 320)),
            (180, 320),
            "180x320 pixels become 176x320: cropped, of which the middle 97.8% is kept",
        ),
        (ImageFit((64, 80)), (256, 320), "256x320 pixels become 64x80: scaled by 0.25"),
        (
            ImageFit((192, 320), "pad"),
            (180, 320),
            "180x320 pixels become 192x320: padded, with black at the edges (6.2% of it)",
        ),
    ],
)
def test_what_becomes_of_pictures_is_said(fit: ImageFit, given: tuple[int, int], said: str) -> None:
    assert fit.described(given) == said


def test_a_wrong_fit_is_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"image_size=\[0, 8\]: give height and width"):
        ImageFit((0, 8))
    with pytest.raises(ValueError, match='image_fit="stretch" is unknown; choose crop or pad'):
        ImageFit((8, 8), "stretch")  # type: ignore[arg-type]


def test_fitted_episodes_are_another_data_set_to_a_cache() -> None:
    source = PhysicsVideo(2, 3, (16, 24), seed=0)
    assert fitted(source, ImageFit((16, 24))) is source
    small = fitted(source, ImageFit((8, 8)))
    assert isinstance(small, Fitted) and small[1].images.shape == (3, 8, 8, 3)
    padded = fitted(source, ImageFit((8, 8), "pad"))
    assert len({repr(dict(one.identity)) for one in (source, small, padded)}) == 3
