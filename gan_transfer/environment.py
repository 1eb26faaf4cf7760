"""What this machine is like for the work: one line for each thing that runs, packs and downloads rest on."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch
from huggingface_hub import HfApi, constants, get_token
from huggingface_hub.errors import RepositoryNotFoundError

from . import __version__
from .bench import machine
from .data.cache import cache_dir
from .devices import cores
from .errors import GanTransferError
from .files import sha256
from .finding import Finding, Level
from .hub_errors import FAILURES, LOGIN, NEW_LOGIN, describe, is_unreachable
from .models.embedded import embedded, index
from .text import reason
from .training import hardware

LITTLE_DISK, LITTLE_MEMORY = 5e9, 2e9
"""Bytes below which it is told: a run on small data needs about 1 GB of disk and of memory."""

HUB_SECONDS = 3.0
"""Silence of the Hub after which it counts as unreachable here."""

LIBRARIES = ("torchvision", "huggingface_hub", "safetensors", "timm", "numpy", "pillow", "pyarrow", "typer")

OK, WARN, FAIL = Level


def examine(outdir: Path) -> list[Finding]:
    """Look at everything.

    Args:
        outdir: where runs are, or would be.
    """
    return [
        *_versions(), *_device(), _compiler(), *_memory(), *_disks(outdir), *_embedded(), _hub(), _token(),
    ]  # fmt: skip


def _versions() -> Iterator[Finding]:
    told = f"{__version__}, Python {platform.python_version()}, {platform.system()} {platform.release()}"
    yield Finding(OK, "gan-transfer", told)
    faults, found = [], []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            faults.append(name)
    again = "pip install --upgrade --force-reinstall gan-transfer"
    missing = f"; missing: {', '.join(faults)}" if faults else ""
    yield Finding(FAIL if faults else OK, "libraries", ", ".join(found) + missing, again if faults else "")
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError, OSError) as error:  # built for another torch
        told = f"torchvision does not fit torch {torch.__version__}: {reason(error)}"
        yield Finding(FAIL, "torchvision", told, "pip install --upgrade torch torchvision")


def _device() -> Iterator[Finding]:
    chosen = hardware.choose("auto", "auto")
    about = machine(chosen)
    yield Finding(OK, "torch", f"{torch.__version__}, runs on {chosen.describe()}")
    if chosen.device.type == "cpu" and shutil.which("nvidia-smi"):
        todo = "take the torch for your driver from https://pytorch.org/get-started/locally"
        yield Finding(WARN, "GPU", "there is an NVIDIA driver, but this torch sees no GPU", todo)
    if chosen.device.type != "cpu":
        return
    fast = hardware.multiplies_bfloat16(chosen.device)
    told = "in hardware, so runs use it" if fast else "not in this processor; runs compute in float32"
    yield Finding(OK, "bfloat16", f"{told}: {about['processor']}")
    threads, there = torch.get_num_threads(), cores()
    told = f"{threads} for {there} processors"
    if threads > there:
        yield Finding(WARN, "threads", f"{told}: they get in each other's way", f"export OMP_NUM_THREADS={there}")
    elif threads == 1 < there and "OMP_NUM_THREADS" in os.environ:
        yield Finding(WARN, "threads", f"{told}: OMP_NUM_THREADS=1 leaves the others idle", "unset OMP_NUM_THREADS")
    else:
        yield Finding(OK, "threads", told)


def _compiler() -> Finding:
    found = next((name for name in ("c++", "g++", "clang++", "cl") if shutil.which(name)), None)
    told = f"{found} is there, for" if found else "no C++ compiler is there, which is needed for"
    return Finding(OK, "compile", f"{told} train.compile = true")


def _memory() -> Iterator[Finding]:
    free = _free_memory()
    if free is not None:
        little = free < LITTLE_MEMORY
        todo = "close other programs, or give a smaller --batch" if little else ""
        yield Finding(WARN if little else OK, "memory", f"{free / 1e9:.1f} GB free", todo)


def _disks(outdir: Path) -> Iterator[Finding]:
    """Room and permission where runs, packs and downloads go."""
    try:
        packs = cache_dir()
    except GanTransferError as error:
        yield Finding(FAIL, "cache", str(error), "set GAN_TRANSFER_CACHE to a folder")
        packs = outdir
    places = (
        ("runs", outdir, "--outdir DIR on another disk"),
        ("cache", packs, "set GAN_TRANSFER_CACHE to a folder on another disk"),
        ("Hub's cache", Path(constants.HF_HUB_CACHE), "set HF_HOME to a folder on another disk"),
    )
    for what, folder, elsewhere in places:
        yield _place(what, folder, elsewhere)


def _place(what: str, folder: Path, elsewhere: str) -> Finding:
    try:
        there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
        free = shutil.disk_usage(there).free
    except OSError as error:
        return Finding(FAIL, what, f"{folder}: {reason(error)}", elsewhere)
    told = f"{folder}: {free / 1e9:.1f} GB free"
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return Finding(FAIL, what, f"{folder}: {there} is no folder that can be written", elsewhere)
    little = free < LITTLE_DISK
    return Finding(WARN if little else OK, what, told, f"free some, or {elsewhere}" if little else "")


def _embedded() -> Iterator[Finding]:
    """The weights that ship with the package, byte for byte."""
    again = "pip install --upgrade --force-reinstall gan-transfer"
    try:
        for name in index()["pairs"]:
            folder, sums = embedded(name)
            bad = [file for file, wanted in sums.items() if not (folder / file).is_file()]
            bad += [file for file, wanted in sums.items() if file not in bad and sha256(folder / file) != wanted]
            told = f"{name}: {'damaged: ' + ', '.join(bad) if bad else 'checksums fit'}"
            yield Finding(FAIL if bad else OK, "weights", told, again if bad else "")
    except (GanTransferError, OSError) as error:
        yield Finding(FAIL, "weights", f"no embedded pair: {reason(error)}", again)


def _hub() -> Finding:
    """Whether the Hub answers; being told to stay offline is no fault."""
    if constants.HF_HUB_OFFLINE:
        return Finding(OK, "Hub", "offline, as HF_HUB_OFFLINE says; what is in the cache can be used")
    try:
        HfApi().model_info(
            "openai-community/gpt2", timeout=HUB_SECONDS
        )  # any name; that there is none is an answer too
    except RepositoryNotFoundError:
        return Finding(OK, "Hub", f"{constants.ENDPOINT} answers")
    except FAILURES as error:
        if not is_unreachable(error):
            return Finding(WARN, "Hub", f"{constants.ENDPOINT} refuses the token: {describe(error)}", NEW_LOGIN)
        told = f"{constants.ENDPOINT} cannot be reached: {describe(error)}; the embedded pair needs no Hub"
        return Finding(WARN, "Hub", told, "connect, set HF_ENDPOINT to a mirror, or HF_HUB_OFFLINE=1 to do without")
    return Finding(OK, "Hub", f"{constants.ENDPOINT} answers")


def _token() -> Finding:
    """Whether there is one; it is never shown."""
    if get_token():
        return Finding(OK, "token", "there is one (not shown)")
    return Finding(OK, "token", f"none; only publishing and gated data need one: {LOGIN}")


def _free_memory() -> int | None:
    """Bytes that can be had without swapping; None where the system does not tell."""
    path = Path("/proc/meminfo")
    for line in path.read_text(encoding="ascii").splitlines() if path.exists() else ():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None
