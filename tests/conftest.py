"""What all tests share: one thread, a cache of their own, the command line in this process, and a run of a second."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hub_server import HubServer

# Before torch, Typer and matplotlib are imported, and for subprocesses too.
os.environ |= {
    "OMP_NUM_THREADS": "1",  # sums in one order: bits can be compared
    "MPLBACKEND": "Agg",
    "COLUMNS": "200",  # tables are not folded
    "_TYPER_FORCE_DISABLE_TERMINAL": "1",  # CI services make Typer believe in a terminal
}
os.environ.pop("FORCE_COLOR", None)

pytest_plugins = ["browser_pages"]

TINY = {
    "data.source": "builtin:covers?count=64",
    "model.resolution": "16",
    "model.base_channels": "4",
    "model.latent_dim": "8",
    "transfer.recalibrate_batches": "2",
    "ema.recalibrate_batches": "2",
    "train.kimg": "0.256",
    "train.batch": "8",
    "train.tick_kimg": "0.032",
    "train.snapshot_kimg": "0.128",
    "train.checkpoint_kimg": "0.064",
    "train.grid": "2",
    "train.device": "cpu",
    "train.precision": "float32",
}
"""Settings that make any recipe a run of 32 steps, 8 ticks and 2 snapshots on 64 covers of 16 x 16 pixels."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def faults(self) -> list[str]:
        """The lines of stderr, which must all be faults but for the word that decoding begins."""
        lines = [line for line in self.err.splitlines() if not line.startswith("decoding ")]
        assert [line for line in lines if not line.startswith("error: ")] == []
        return [line.removeprefix("error: ") for line in lines]


Cli = Callable[..., Outcome]
Refused = Callable[..., list[str]]


def sets(settings: dict[str, str]) -> list[str]:
    """Settings as words of a command."""
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


def tree(*folders: Path) -> dict[Path, bytes | None]:
    """Everything below some folders: files with their content, folders with None."""
    found = [path for folder in folders for path in folder.rglob("*")]
    return {path: path.read_bytes() if path.is_file() else None for path in sorted(found)}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder for the test."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("GAN_TRANSFER_CACHE", str(folder))
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def tiny() -> list[str]:
    """`TINY` as words of a command; flags, and later `--set`s, win over them."""
    return sets(TINY)


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run the command line in this process, which saves the seconds of importing torch."""
    from gan_transfer.cli import main

    def run(*words: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["gan-transfer", *map(str, words)])
        capsys.readouterr()
        code: object = 0
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
        captured = capsys.readouterr()
        assert isinstance(code, int)
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """The snapshot folder of a pair with the shape of `tiny`, its weights freshly drawn."""
    import torch

    from gan_transfer.models.dcgan import Discriminator, Generator, initialise
    from gan_transfer.models.weights import Pair, save_pair
    from gan_transfer.recipe import Model

    model, random = Model(resolution=16, base_channels=4, latent_dim=8), torch.Generator().manual_seed(7)
    generator, discriminator = Generator(model), Discriminator(model)
    initialise(generator, random)
    initialise(discriminator, random)
    save_pair(tmp_path / "pair", Pair(generator, discriminator, {"kimg": 0.0}))
    return tmp_path / "pair"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[HubServer]:
    """A Hub, asked without a token, and an empty cache for what comes from it.

    Large files go through LFS, or inside the commit where a test asks for that by `parametrize(..., indirect=True)`.
    """
    from hub_server import HubServer
    from huggingface_hub import close_session, constants
    from huggingface_hub.utils import disable_progress_bars, enable_progress_bars

    lfs = getattr(request, "param", True)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", lfs)  # whose protocol the server does not speak
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    disable_progress_bars()
    with HubServer(lfs=lfs) as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield server
    close_session()
    enable_progress_bars()


@pytest.fixture
def refused(cli: Cli, tiny: list[str], home: Path, cache: Path, pair: Path) -> Refused:
    """Fine-tune with further words, in a folder that holds a usable `pair`; give back the faults.

    Nothing may have been written.
    """

    def run(*words: object, command: tuple[str, ...] = ("finetune", "--target", "coverart")) -> list[str]:
        before = tree(home, cache)
        done = cli(*command, *tiny, *words)
        assert (done.code, done.out) == (2, "")
        assert tree(home, cache) == before
        return done.faults

    return run
