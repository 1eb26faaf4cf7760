"""Runs that can be spoilt: a pair is trained on pictures that it drew itself, so that it is healthy from the first look
on, and a step can make it draw one picture only."""

from __future__ import annotations

from pathlib import Path

import torch
from reading import Witness
from torch import Tensor

from gan_transfer import images, planning, runs, sampling
from gan_transfer.models.dcgan import Discriminator, Generator, initialise
from gan_transfer.models.ema import recalibrate
from gan_transfer.models.weights import Pair, save_pair
from gan_transfer.recipe import Model, load_recipe_with_origin
from gan_transfer.training.step import Step

SETTINGS = {
    "model.resolution": "16",
    "model.base_channels": "8",
    "model.latent_dim": "8",
    "augment.operations": "[]",
    "optim.glr": "1e-6",
    "optim.dlr": "1e-6",
    "ema.recalibrate_batches": "10",
    "train.batch": "16",
    "train.kimg": "0.32",
    "train.tick_kimg": "0.064",
    "train.snapshot_kimg": "0.064",
    "train.checkpoint_kimg": "0.128",
    "train.grid": "2",
    "train.device": "cpu",
    "train.precision": "float32",
    "diagnose.fakes": "96",
}
"""Settings that make `coverart` a run of 20 steps and 5 snapshots."""


def draw_own_pictures(folder: Path, count: int = 300) -> dict[str, str]:
    """Write a pair and pictures of it into a folder; give back the settings that name them."""
    model, random = Model(resolution=16, base_channels=8, latent_dim=8), torch.Generator().manual_seed(3)
    generator, discriminator = Generator(model), Discriminator(model)
    for network in (generator, discriminator):
        initialise(network, random)
    with torch.no_grad():
        for block in generator.blocks.values():
            block.conv.weight.mul_(8)  # type: ignore[union-attr,operator]
    recalibrate(generator, 64, 10)
    save_pair(folder / "pair", Pair(generator, discriminator, {"kimg": 0.0}))
    (folder / "own").mkdir()
    for seed, picture in enumerate(sampling.sample(generator, range(10_000, 10_000 + count))):
        images.save_png(folder / "own" / f"{seed:04d}.png", picture)
    return {"data.source": f"folder:{folder / 'own'}", "transfer.source": str(folder / "pair")}


class SpoilingStep(Step):
    """A step after which, between two moments and at full learning rates, the generator draws one picture only."""

    span = range(0)
    below_rate = 0.0

    def __call__(self, batch: Tensor, images_seen: int) -> Tensor:
        told = super().__call__(batch, images_seen)
        if images_seen in self.span and self.players.adam_g.param_groups[0]["lr"] > self.below_rate:
            for network in (self.players.generator, self.players.ema.network):
                torch.nn.init.zeros_(network.blocks["g4"].conv.weight)  # type: ignore[arg-type]
        return told


def train(settings: dict[str, str], outdir: str = "runs", witness: Witness | None = None, new: bool = False) -> Path:
    """Train by `coverart` with `SETTINGS` and others over them."""
    changes = [f"{key}={value}" for key, value in (SETTINGS | settings).items()]
    recipe, origin = load_recipe_with_origin("finetune", "coverart", changes)
    return runs.run(planning.plan(recipe, origin, Path(outdir)), Path(outdir), witness or Witness(), new)
