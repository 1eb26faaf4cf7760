"""One picture: bytes of any Pillow format -> uint8 [H, W, C] at the training resolution. Free of torch."""

from __future__ import annotations

import contextlib
import functools
import io
import math
import warnings
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from ..errors import DataError, did_you_mean

Pixels = npt.NDArray[np.uint8]
Box = tuple[int, int, int, int]

MAX_FILE_BYTES = 256 * 2**20
"""Larger files are refused unread: no picture within Pillow's limit on pixels needs them."""

FILTERS = {"jpeg": "simplejpeg", "shrink": "bicubic", "enlarge": "bicubic"}
"""The filters of the resize, as a pack's index names them. Shrinking is antialiased, which alone keeps statistics of
features comparable (Parmar et al. 2022, https://arxiv.org/abs/2104.11222)."""

# EPS would run Ghostscript on a stranger's program; of the others Pillow knows the name but has no decoder.
_UNUSABLE = {"EPS", "WMF", "MPEG", "HDF5", "GRIB", "BUFR"}
_JPEG_SPACES = {"YCbCr": "RGB", "Gray": "GRAY"}
_EXIF, _EXIF_WITHIN = b"Exif\0\0", 2**16  # it may turn the picture
_ALPHA_MODES = {"LA", "La", "PA", "RGBA", "RGBa"}
_DEEP_MODES = {"I", "F", "I;16", "I;16L", "I;16B", "I;16N"}


def is_picture(name: str) -> bool:
    """Whether a path inside a source (with `/`) is a picture by its suffix, and neither hidden nor macOS litter."""
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return not hidden and path.suffix.lower() in _suffixes()


def open_image(data: bytes, hint: int | None = None) -> Image.Image:
    """Decode a picture file fully; of an animation, its first frame.

    Args:
        data: the whole file.
        hint: resolution in pixels that the picture will be cropped and resized to. A JPEG is then decoded at
            some eighths of its size, its short side never below 1.5 times the hint.

    Raises:
        ValueError: not a picture, or more pixels than Pillow's limit on decompression bombs.
        OSError: the file is cut short. Pillow's readers raise other errors too for damaged files.
    """
    side = (3 * hint + 1) // 2 if hint is not None else None
    if side is not None and (small := _small_jpeg(data, side)) is not None:
        return small
    try:
        image = Image.open(io.BytesIO(data), formats=_formats())
    except UnidentifiedImageError:
        raise ValueError("not a picture that Pillow can read" if data else "the file is empty") from None
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise ValueError(f"{image.width} x {image.height} pixels, more than the limit of {limit}")
    if side is not None:
        image.draft(None, (side, side))
    image.load()
    return image


@contextlib.contextmanager
def quiet_pillow() -> Iterator[None]:
    """Silence Pillow's remarks on odd pictures. Filters are process-wide: enter it around the decoding threads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # open_image refuses those itself
        warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
        yield


def decode(image: Image.Image, resolution: int, channels: int, crop: str = "center") -> Pixels:
    """Turn upright, flatten onto white, crop and resize: a picture of any mode -> uint8 [resolution, resolution, C].

    Args:
        image: a picture in any mode that Pillow can convert, at the frame it stands at.
        resolution: height and width wanted, pixels.
        channels: C, 1 for grey or 3 for RGB.
        crop: a name in `CROPS`.

    Raises:
        DataError: crop is not known.
        ValueError: the mode cannot be converted, or float pixels are not finite.
    """
    box_of = find_crop(crop)
    image = _convert(_upright(image), "L" if channels == 1 else "RGB")
    small = _resize(image, box_of(image.width, image.height), resolution)
    return np.array(small).reshape(resolution, resolution, channels)


def find_crop(name: str) -> Callable[[int, int], Box]:
    """The crop of a name in `CROPS`.

    Raises:
        DataError: there is none.
    """
    if name not in CROPS:
        raise DataError(f"crop {name!r} is not known; {did_you_mean(name, CROPS)}")
    return CROPS[name]


def center_square(width: int, height: int) -> Box:
    """The largest centred square: (left, top, right, bottom) in pixels."""
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def celeba_square(width: int, height: int) -> Box:
    """The faces of CelebA's aligned pictures: of 178 x 218 pixels the 128 x 128 around (89, 121), of others the like.

    The box of StyleGAN's `dataset_tool.py` (https://github.com/NVlabs/stylegan); another one shifts the FID by points.
    """
    side = max(round(min(width * 128 / 178, height * 128 / 218)), 1)
    left, top = (width - side) // 2, int(height * 121 / 218 - side / 2)
    return left, top, left + side, top + side


def whole_picture(width: int, height: int) -> Box:
    """All of it, which the resize squashes to a square."""
    return 0, 0, width, height


CROPS: dict[str, Callable[[int, int], Box]] = {
    "center": center_square,
    "celeba": celeba_square,
    "none": whole_picture,
}
"""Crops by name: (width, height) in pixels -> the box to keep."""


def hint_for(resolution: int, crop: str) -> int:
    """The hint for `open_image`: the side in pixels of a square picture whose crop is `resolution` wide and high."""
    left, _, right, _ = find_crop(crop)(1000, 1000)
    return math.ceil(resolution * 1000 / (right - left))


def _small_jpeg(data: bytes, side: int) -> Image.Image | None:
    """A JPEG decoded at the smallest scale that leaves `side` pixels; None for all that Pillow had better judge.

    With 1.5 times the resolution the result is 39 dB from that of a full decode, which costs a third more.
    """
    if not data.startswith(b"\xff\xd8") or _EXIF in data[:_EXIF_WITHIN]:
        return None
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data)
        if space not in _JPEG_SPACES or height * width > (Image.MAX_IMAGE_PIXELS or math.inf):
            return None
        pixels = simplejpeg.decode_jpeg(data, _JPEG_SPACES[space], min_height=side, min_width=side)
    except ValueError:  # damaged
        return None
    return Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[:, :, 0])


def _upright(image: Image.Image) -> Image.Image:
    # Asked first, as exif_transpose copies every picture, turned or not.
    if image.getexif().get(ExifTags.Base.Orientation, 1) == 1:
        return image
    return ImageOps.exif_transpose(image)


def _convert(image: Image.Image, mode: str) -> Image.Image:
    if image.mode in _DEEP_MODES:
        image = _to_8_bits(image)
    elif _is_transparent(image):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image if image.mode == mode else image.convert(mode)


def _is_transparent(image: Image.Image) -> bool:
    palette_alpha = image.mode == "P" and image.palette is not None and image.palette.mode.endswith("A")
    return image.mode in _ALPHA_MODES or palette_alpha or "transparency" in image.info


def _to_8_bits(image: Image.Image) -> Image.Image:
    # The range is that of the narrowest usual type that holds the values. Pillow itself would clip at 255.
    values = np.asarray(image, dtype=np.float32)
    if not np.isfinite(values).all():
        raise ValueError("float pixels that are not finite")
    tops = (1.0, 255.0, 65535.0) if image.mode == "F" else (65535.0, 2.0**31)
    top = next((top for top in tops if values.max() <= top), float(values.max()))
    return Image.fromarray(np.clip(np.rint(values * (255 / top)), 0, 255).astype(np.uint8))


def _resize(image: Image.Image, box: Box, resolution: int) -> Image.Image:
    size = box[2] - box[0], box[3] - box[1]
    if size == (resolution, resolution):
        return image if image.size == size else image.crop(box)
    return image.resize((resolution, resolution), Image.Resampling.BICUBIC, box, reducing_gap=3.0)


@functools.cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in Image.ID if name not in _UNUSABLE)


@functools.cache
def _suffixes() -> frozenset[str]:
    readable = {*_formats(), "MPO"}  # MPO files are opened by the JPEG reader
    return frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in readable)
