"""Decoding: every Pillow mode, orientation, crop and resize, and files that are broken or hostile."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageDraw

from gan_transfer.data.decode import CROPS, celeba_square, center_square, decode, hint_for, open_image, quiet_pillow
from gan_transfer.errors import DataError

RED, WHITE = [255, 0, 0], [255, 255, 255]


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def first(image: Image.Image, channels: int = 3) -> list[int]:
    """The top left pixel after decoding to 4 x 4."""
    return [int(value) for value in decode(image, 4, channels)[0, 0]]


def grey(values: object, dtype: str) -> Image.Image:
    return Image.fromarray(np.full((4, 4), values, dtype))


@pytest.mark.parametrize("mode", ["RGB", "P", "CMYK", "YCbCr", "HSV", "RGBA", "RGBX", "RGBa", "PA"])
def test_colours_survive_every_mode(mode: str) -> None:
    red = Image.new("RGB", (9, 6), "red")
    image = red.convert("RGBA").convert("RGBa") if mode == "RGBa" else red.convert("P" if mode == "PA" else mode)
    image = image.convert("PA") if mode == "PA" else image
    assert image.mode == mode
    pixels = decode(image, 4, 3)
    assert (pixels.shape, pixels.dtype) == ((4, 4, 3), np.uint8)
    assert np.abs(pixels.astype(int) - RED).max() <= 2


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "CMYK", "P"])
@pytest.mark.parametrize("channels", [1, 3])
def test_white_stays_white_in_grey_and_colour(mode: str, channels: int) -> None:
    pixels = decode(Image.new("RGB", (5, 5), "white").convert(mode), 4, channels)
    assert pixels.tolist() == np.full((4, 4, channels), 255).tolist()


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (grey(65535, "uint16"), 255),
        (grey(257 * 100 + 128, "uint16"), 100),
        (grey(257 * 100 + 129, "uint16"), 101),
        (grey(257 * 100, ">u2"), 100),
        (grey(257 * 100, "int32"), 100),
        (grey(2**30, "int32"), 128),
        (grey(-5, "int32"), 0),
        (grey(0.4, "float32"), 102),
        (grey(102.0, "float32"), 102),
        (grey(257 * 102.0, "float32"), 102),
        (grey(1e9, "float32"), 255),
    ],
)
def test_deep_greys_are_scaled_by_their_range(image: Image.Image, expected: int) -> None:
    assert first(image) == [expected] * 3


def test_sixteen_bit_png_is_not_clipped() -> None:
    ramp = Image.fromarray((np.arange(16, dtype=np.uint16) * 4369).reshape(4, 4))
    pixels = decode(open_image(encoded(ramp, "PNG")), 4, 1)
    assert pixels.ravel().tolist() == list(range(0, 256, 17))


def test_pixels_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="not finite"):
        decode(grey(np.nan, "float32"), 4, 1)


def test_transparency_shows_white() -> None:
    clear = Image.new("RGBA", (4, 4), (0, 0, 255, 0))
    assert first(clear) == WHITE
    assert first(Image.new("RGBA", (4, 4), (255, 0, 0, 128))) == [255, 127, 127]
    assert first(Image.new("LA", (4, 4), (0, 0))) == WHITE
    palette = open_image(encoded(clear.convert("P"), "PNG", transparency=clear.convert("P").getpixel((0, 0))))
    assert (palette.mode, first(palette)) == ("P", WHITE)
    keyed = open_image(encoded(Image.new("RGB", (4, 4), "blue"), "PNG", transparency=(0, 0, 255)))
    assert (keyed.mode, first(keyed)) == ("RGB", WHITE)


@pytest.mark.parametrize(
    ("orientation", "stored_by"),
    [
        (1, None),
        (2, Image.Transpose.FLIP_LEFT_RIGHT),
        (3, Image.Transpose.ROTATE_180),
        (4, Image.Transpose.FLIP_TOP_BOTTOM),
        (5, Image.Transpose.TRANSPOSE),
        (6, Image.Transpose.ROTATE_90),
        (7, Image.Transpose.TRANSVERSE),
        (8, Image.Transpose.ROTATE_270),
    ],
)
def test_pictures_are_turned_upright(orientation: int, stored_by: Image.Transpose | None) -> None:
    upright = Image.new("RGB", (32, 32), "white")
    ImageDraw.Draw(upright).rectangle((0, 0, 15, 7), "red")  # at the top left and wider than high: all eight differ
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    stored = upright if stored_by is None else upright.transpose(stored_by)
    pixels = decode(open_image(encoded(stored, "PNG", exif=exif), hint=32), 32, 3)
    assert np.array_equal(pixels, np.asarray(upright))


def test_the_first_frame_of_an_animation_is_taken() -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    for format in ("GIF", "WEBP", "PNG", "TIFF"):
        options = {"lossless": True} if format == "WEBP" else {}
        data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **options)
        assert first(open_image(data)) == RED


@pytest.mark.parametrize(("width", "height", "box"), [(9, 6, (1, 0, 7, 6)), (6, 9, (0, 1, 6, 7)), (5, 5, (0, 0, 5, 5))])
def test_the_crop_is_the_centred_square(width: int, height: int, box: tuple[int, ...]) -> None:
    assert center_square(width, height) == box


@pytest.mark.parametrize(
    ("size", "box"),
    [
        ((178, 218), (25, 57, 153, 185)),
        ((89, 109), (12, 28, 76, 92)),
        ((356, 436), (50, 114, 306, 370)),
        ((256, 256), (53, 67, 203, 217)),
        ((1, 1), (0, 0, 1, 1)),
    ],
)
def test_the_celeba_crop_is_the_faces_box_whatever_the_scale(size: tuple[int, int], box: tuple[int, ...]) -> None:
    assert celeba_square(*size) == box
    pixels = np.zeros((*size[::-1], 3), np.uint8)
    pixels[box[1] : box[3], box[0] : box[2]] = 255
    assert decode(Image.fromarray(pixels), box[2] - box[0], 3, "celeba").min() == 255


def test_without_a_crop_the_whole_picture_is_squashed() -> None:
    left_and_right = np.zeros((4, 32, 3), np.uint8)
    left_and_right[:, 16:] = 255
    pixels = decode(Image.fromarray(left_and_right), 8, 3, "none")
    assert pixels.shape == (8, 8, 3)
    assert pixels[:, :3].max() < 20
    assert pixels[:, 5:].min() > 235


@pytest.mark.parametrize("crop", CROPS)
@pytest.mark.parametrize("size", [(178, 218), (218, 178), (100, 100), (1, 20000), (20000, 1)])
def test_every_crop_lies_inside_the_picture(size: tuple[int, int], crop: str) -> None:
    left, top, right, bottom = CROPS[crop](*size)
    assert 0 <= left < right <= size[0]
    assert 0 <= top < bottom <= size[1]


@pytest.mark.parametrize(("crop", "hint"), [("center", 64), ("none", 64), ("celeba", 110)])
def test_the_hint_leaves_the_crop_as_large_as_the_result(crop: str, hint: int) -> None:
    assert hint_for(64, crop) == hint
    for size in ((hint, hint), (hint, 3 * hint), (3 * hint, hint)):
        left, top, right, bottom = CROPS[crop](*size)
        assert min(right - left, bottom - top) >= 64


def test_a_picture_of_the_right_size_is_not_resampled() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    assert np.array_equal(decode(Image.fromarray(noise), 16, 3), noise)
    wide = np.pad(noise, ((0, 0), (3, 3), (0, 0)))
    assert np.array_equal(decode(Image.fromarray(wide), 16, 3), noise)


def test_shrinking_is_antialiased() -> None:
    stripes = np.zeros((256, 256), np.uint8)
    stripes[:, ::2] = 255
    inner = decode(Image.fromarray(stripes), 16, 1)[:, 3:-3]  # away from the edges
    assert 126 <= inner.min() <= inner.max() <= 129


@pytest.mark.parametrize("size", [(1, 20000), (20000, 1), (1, 1), (2, 3)])
def test_extreme_shapes_work(size: tuple[int, int]) -> None:
    for format in ("PNG", "JPEG"):
        pixels = decode(open_image(encoded(Image.new("RGB", size, "red"), format), hint=64), 64, 3)
        assert pixels.shape == (64, 64, 3)
        assert np.abs(pixels.astype(int) - RED).max() <= 2


def test_a_hint_decodes_large_jpegs_smaller_to_nearly_the_same_picture() -> None:
    ramp = np.linspace(0, 255, 640).astype(np.uint8)
    large = Image.fromarray(np.broadcast_to(ramp, (480, 640)))
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 1
    for mode, exif in (("RGB", None), ("L", None), ("CMYK", None), ("RGB", turned)):
        data = encoded(large.convert(mode), "JPEG", quality=95, **({"exif": exif} if exif else {}))
        drafted = open_image(data, hint=32)
        assert drafted.size == (80, 60)  # an eighth; 60 is the first above 1.5 times 32
        assert open_image(data, hint=41).size == (160, 120)
        difference = decode(drafted, 32, 3).astype(int) - decode(open_image(data), 32, 3)
        assert np.abs(difference).max() <= 3


def test_an_unknown_crop_is_refused() -> None:
    with pytest.raises(DataError, match="crop 'centre' is not known; did you mean 'center'"):
        decode(Image.new("L", (4, 4)), 4, 1, "centre")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_files_cut_short_are_broken(format: str) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    data = encoded(noise, format)
    with pytest.raises((OSError, ValueError)), quiet_pillow():
        open_image(data[: len(data) // 2], hint=64)


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "the file is empty"), (b"<html>404</html>", "not a picture"), (bytes(4096), "not a picture")],
)
def test_what_is_no_picture_is_broken(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        open_image(data)


@pytest.mark.parametrize("side", [10_000, 20_000])
def test_more_pixels_than_the_limit_are_refused_undecoded(side: int) -> None:
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n"
    for name, content in ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(99))), (b"IEND", b"")):
        bomb += struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    with pytest.raises((ValueError, Image.DecompressionBombError), match="pixels"), quiet_pillow():
        open_image(bomb)
