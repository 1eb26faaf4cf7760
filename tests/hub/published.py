"""Pairs and their books for the tests of the Hub: small, and the same every time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from hub_server import HubServer, Repo

from gan_transfer import config
from gan_transfer.models.dcgan import Discriminator, Generator, initialise
from gan_transfer.models.metrics import Metrics, Score
from gan_transfer.models.weights import Pair, save_pair
from gan_transfer.recipe import Model, load_recipe

METRICS = Metrics(12.5, "builtin", 512, "healthy", {"kid_x1000": Score(27.25, 2.5), "recall": Score(0.5)})
DATA = {"source": "covers", "origin": "hf:some/covers@0123abc:train", "pictures": 500, "pack": "feed"}
SHA = "0123456789abcdef0123456789abcdef01234567"


def snapshot(folder: Path, seed: int = 7, **info: Any) -> Path:
    """A snapshot as a run would leave it: with its recipe, and no findings."""
    model, random = Model(resolution=16, base_channels=4, latent_dim=8), torch.Generator().manual_seed(seed)
    generator, discriminator = Generator(model), Discriminator(model)
    initialise(generator, random)
    initialise(discriminator, random)
    told = {"kimg": 12.5, "recipe": "coverart", "data": DATA, "from": None} | info
    recipe = config.to_dict(load_recipe("finetune", "coverart", ["transfer.freeze_d_image=1"]))
    save_pair(folder, Pair(generator, discriminator, told), recipe=recipe)
    return folder


def commits(repo: Repo) -> int:
    """How many commits a repository has, the first and empty one not counted."""
    return len(repo.history) - 1


def uploads(hub: HubServer) -> int:
    """How many files came through LFS."""
    return sum(line.startswith("PUT ") and line.endswith(" 200") for line in hub.requests)


def config_of(repo: Repo) -> dict[str, Any]:
    """The `config.json` in a repository."""
    loaded: dict[str, Any] = json.loads(repo.read()["config.json"])
    return loaded
