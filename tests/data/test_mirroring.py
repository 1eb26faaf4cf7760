"""Claims about flips: handedness and lettering are seen where they are, and not where they are not."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from test_real_pictures import real

from gan_transfer.data.decode import Pixels, decode
from gan_transfer.data.mirroring import LETTERING_SCORE, MIN_PICTURES, Handedness, handedness, lettering
from gan_transfer.data.sources import open_source

RANDOM = np.random.default_rng(0)
WORDS = ["THE", "QUICK", "BROWN", "FOX", "JUMPS", "OVER", "A", "LAZY", "DOG"]


def blobs(count: int) -> Pixels:
    """Soft colour patterns without any direction."""
    small = RANDOM.integers(0, 256, (count, 6, 6, 3), np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize((64, 64), Image.Resampling.BICUBIC)) for one in small])


def titled(pictures: Pixels) -> Pixels:
    """The pictures with a line of words on each, at any height."""
    drawn = []
    for picture in pictures:
        image = Image.fromarray(picture)
        text = " ".join(RANDOM.choice(WORDS, 3))
        ImageDraw.Draw(image).text((2, int(RANDOM.integers(2, 50))), text, "white", ImageFont.load_default())
        drawn.append(np.asarray(image))
    return np.stack(drawn)


def marked(pictures: Pixels) -> Pixels:
    """The pictures with a triangle that points right on each."""
    drawn = []
    for picture in pictures:
        image, (x, y) = Image.fromarray(picture), RANDOM.integers(5, 30, 2).tolist()
        ImageDraw.Draw(image).polygon([(x, y), (x + 25, y + 12), (x, y + 24)], fill="white")
        drawn.append(np.asarray(image))
    return np.stack(drawn)


def thumbnails(name: str, most: int) -> Pixels:
    """Thumbnails of a real data set, evenly spread."""
    source = open_source(str(real(name)))
    rows = range(0, len(source), max(len(source) // most, 1))
    pictures = np.stack([decode(source.load(row), 64, 3) for row in rows])
    source.close()
    return pictures


def test_patterns_without_direction_cannot_be_told_from_their_mirror_images() -> None:
    found = handedness(blobs(600))
    assert found is not None
    assert abs(found.share - 0.5) < 4 * found.error


def test_pictures_that_all_point_right_can_be_told() -> None:
    found = handedness(marked(blobs(200)))
    assert found is not None
    assert found.share > 0.85
    assert found.pictures == 200


def test_handedness_does_not_change_when_all_pictures_are_mirrored() -> None:
    pictures = marked(blobs(200))
    assert handedness(pictures) == handedness(pictures[:, :, ::-1])


def test_flat_pictures_are_guessed() -> None:
    assert handedness(np.full((60, 64, 64, 3), 128, np.uint8)) == Handedness(0.5, 60)


def test_few_pictures_say_nothing_of_handedness() -> None:
    assert handedness(blobs(MIN_PICTURES - 1)) is None


def test_lines_of_words_are_noticed_and_patterns_are_not() -> None:
    plain = blobs(100)
    assert (lettering(titled(plain)) >= LETTERING_SCORE).mean() > 0.8
    assert (lettering(plain) >= LETTERING_SCORE).mean() == 0


def test_texture_on_all_sides_is_no_lettering() -> None:
    grass = np.repeat(RANDOM.integers(0, 256, (50, 64, 64, 1), np.uint8), 3, axis=3)
    assert (lettering(grass) >= LETTERING_SCORE).mean() < 0.1


@pytest.mark.parametrize(
    ("name", "lettered", "handed"),
    [
        ("album_covers_500_96px.zip", True, False),
        ("song_jackets_6000_96px.zip", True, False),
        ("celeba_8k_89x109.zip", False, False),
        ("tiny_imagenet_a_15k_64px.zip", False, False),
        ("cifar10_10k_jpg.zip", False, False),
        ("mnist", False, True),
    ],
)
def test_real_pictures_are_judged_rightly(name: str, lettered: bool, handed: bool) -> None:
    pictures = thumbnails(name, 1000)
    found = handedness(pictures)
    assert found is not None
    assert ((lettering(pictures) >= LETTERING_SCORE).mean() >= 0.2) == lettered
    assert (found.share >= 0.6) == handed
