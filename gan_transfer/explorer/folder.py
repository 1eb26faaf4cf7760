"""Writes the explorer's folder: the page, the runtime beside it, the generator, and what the page must know of it."""

from __future__ import annotations

import hashlib
import json
import lzma
from pathlib import Path
from typing import Any

from .. import __version__
from ..data.paths import slug
from ..errors import RunError
from ..files import atomic, write_json
from ..models.export import check, to_onnx
from ..models.weights import Pair
from ..text import printable, reason
from .directions import principal_directions

COUNT = 10
"""Directions, a slider each."""
MADE_BY = "gan-transfer explore"
HALF_TOLERANCE = 1 / 127.5
"""Of pictures in [-1, 1] from weights in float16: one step of a picture's 256."""

_HERE = Path(__file__).parent
_ABOUT, _INDEX, _MODEL = "explorer.json", "index.html", "generator.onnx"
_RUNTIME = "runtime"


def default_folder(pair: Pair) -> Path:
    """`explorer/` and the name of the pair."""
    return Path("explorer") / slug(pair.origin)


def check_folder(folder: Path) -> None:
    """Check that a folder can become an explorer's: absent, empty, or one already.

    Raises:
        RunError: it holds something else, which stays.
    """
    shown = printable(str(folder))
    try:
        if folder.exists() and not folder.is_dir():
            raise RunError(f"--outdir {shown} is a file, which stays. Give another --outdir")
        foreign = folder.exists() and any(folder.iterdir()) and not _is_ours(folder / _ABOUT)
    except OSError as error:
        raise _unwritable(folder, error) from None
    if foreign:
        raise RunError(f"--outdir {shown} holds something else than an explorer, which stays. Give another --outdir")


def write_folder(folder: Path, pair: Pair) -> float | None:
    """Write the explorer of a pair; one that is there is replaced, its `index.html` last.

    Args:
        folder: see `check_folder`; made if absent.
        pair: its generator in eval mode, on the CPU.

    Returns:
        The largest difference between a picture of the page's generator and one of PyTorch, in [0, 2]; None where
        onnxruntime is not installed and it was not checked.

    Raises:
        GanTransferError: the package `onnx` is not installed.
        WeightsError: the page's generator would draw other pictures.
        RunError: the folder holds something else, or cannot be written.
    """
    check_folder(folder)
    model = to_onnx(pair.generator, {"pair": pair.origin}, half=True)
    difference = check(model, pair.generator, HALF_TOLERANCE)
    about = _about(pair, model)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _RUNTIME).mkdir(exist_ok=True)
        write_json(folder / _ABOUT, about)  # first, so that what is cut off here is known as an explorer
        _write(folder / _MODEL, model)
        for source in sorted((_HERE / _RUNTIME).iterdir()):
            _copy(source, folder / _RUNTIME)
        for source in sorted((_HERE / "page").iterdir(), key=lambda path: path.name == _INDEX):
            _copy(source, folder)
    except OSError as error:
        raise _unwritable(folder, error) from None
    return difference


def _about(pair: Pair, model: bytes) -> dict[str, Any]:
    """What the page reads: names and shapes, and the directions."""
    shape, (vectors, shares) = pair.model, principal_directions(pair.generator, COUNT)
    return {
        "made_by": MADE_BY,
        "version": __version__,
        "pair": pair.origin,
        "kimg": pair.info.get("kimg"),
        "sha256": hashlib.sha256(model).hexdigest(),
        "resolution": int(shape.resolution),
        "channels": int(shape.channels),
        "latent_dim": shape.latent_dim,
        "shares": [round(share, 4) for share in shares.tolist()],
        "directions": [[round(value, 5) for value in vector] for vector in vectors.tolist()],
    }


def _is_ours(path: Path) -> bool:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    return isinstance(about, dict) and about.get("made_by") == MADE_BY


def _copy(source: Path, folder: Path) -> None:
    """Copy a file of the package; what is packed there is unpacked."""
    if source.suffix == ".xz":
        _write(folder / source.stem, lzma.decompress(source.read_bytes()))
    else:
        _write(folder / source.name, source.read_bytes())


def _write(path: Path, content: bytes) -> None:
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def _unwritable(folder: Path, error: OSError) -> RunError:
    shown = printable(str(folder))
    return RunError(f"--outdir {shown}: cannot be written ({reason(error)}). Give another --outdir")
