"""Options that several commands share, and how flags become overrides of a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..config import Override
from ..errors import RecipeError
from ..explain import toml
from . import completion

Data = Annotated[
    str | None,
    typer.Option(
        "--data",
        help="Pictures: a plain path, or KIND:WHERE with folder, zip, tar, wds, parquet, hf, idx, celeba, torchvision, "
        "pack or builtin.",
    ),
]
OutDir = Annotated[Path, typer.Option("--outdir", help="Where the numbered run folders are.")]
Kimg = Annotated[float | None, typer.Option("--kimg", help="Length: thousands of real images shown.")]
Batch = Annotated[str | None, typer.Option("--batch", help="Images in a step, or auto: as many as fit and pay.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of weights, latents and order.")]
From = Annotated[
    str | None,
    typer.Option("--from", help="Pair to start from: builtin, none, hf:ORG/NAME\\[@REVISION], a snapshot or a run."),
]
Glr = Annotated[float | None, typer.Option("--glr", help="Learning rate of the generator.")]
Dlr = Annotated[float | None, typer.Option("--dlr", help="Learning rate of the discriminator.")]
Augment = Annotated[
    str | None,
    typer.Option(
        "--augment",
        help="DiffAugment: color,translation,cutout in any choice, or none.",
        autocompletion=completion.complete_augment,
    ),
]
Mirror = Annotated[bool | None, typer.Option("--mirror/--no-mirror", help="Flip half of the real pictures.")]
Device = Annotated[
    str | None,
    typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.", autocompletion=completion.complete_device),
]
Precision = Annotated[
    str | None,
    typer.Option("--precision", help="auto, float32 or bfloat16.", autocompletion=completion.complete_precision),
]
OnCollapse = Annotated[
    str | None,
    typer.Option(
        "--on-collapse",
        help="warn, stop, or rollback: back to the last good look, half as fast.",
        autocompletion=completion.complete_on_collapse,
    ),
]
Patience = Annotated[
    int | None, typer.Option("--patience", help="Looks without a better KID that end the run; 0: none.")
]
Set = Annotated[list[str] | None, typer.Option("--set", help="Any other setting: section.key=value. Can be repeated.")]
Method = Annotated[
    str,
    typer.Option(
        "--method",
        help="A known method, such as freeze-d2+lecam. See: gan-transfer recipes methods",
        autocompletion=completion.complete_method,
    ),
]
Freeze = Annotated[
    str | None, typer.Option("--freeze", help="'early' is --freeze-d-image 2: D's two blocks nearest the image.")
]
FreezeDImage = Annotated[
    int | None, typer.Option("--freeze-d-image", help="Freeze N blocks of D, counted from the image (FreezeD).")
]
FreezeGImage = Annotated[int | None, typer.Option("--freeze-g-image", help="Freeze N blocks of G, from the image.")]
FreezeGLatent = Annotated[int | None, typer.Option("--freeze-g-latent", help="Freeze N blocks of G, from the latent.")]
TrainOnly = Annotated[
    str | None,
    typer.Option(
        "--train-only",
        help="bn-affine: in G batch norm's gains and offsets, and the image block.",
        autocompletion=completion.complete_train_only,
    ),
]
LrMult = Annotated[
    list[str] | None,
    typer.Option(
        "--lr-mult",
        help="A factor on a block's learning rate, such as d32=0.1. Can be repeated.",
        autocompletion=completion.complete_factor,
    ),
]
PushTo = Annotated[
    str, typer.Option("--push-to", help="ORG/NAME on the Hub to publish to at the end; checked before training.")
]
OnMismatch = Annotated[
    str | None,
    typer.Option(
        "--on-mismatch",
        help="Blocks of another shape than the source's: adapt, skip (draw anew) or error.",
        autocompletion=completion.complete_on_mismatch,
    ),
]
New = Annotated[bool, typer.Option("--new", help="Begin a new run folder even where an unfinished run is.")]
TensorBoard = Annotated[
    bool, typer.Option("--tensorboard", help="Curves and grids for TensorBoard, in tensorboard/ of the run.")
]
Wandb = Annotated[
    bool, typer.Option("--wandb", help="Curves and grids for Weights & Biases; WANDB_MODE=offline keeps them here.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Check, measure, print the plan; write nothing.")]

KEYS = {
    "data": "data.source",
    "kimg": "train.kimg",
    "batch": "train.batch",
    "seed": "train.seed",
    "source": "transfer.source",
    "freeze_d_image": "transfer.freeze_d_image",
    "freeze_g_image": "transfer.freeze_g_image",
    "freeze_g_latent": "transfer.freeze_g_latent",
    "train_only": "transfer.train_only",
    "on_mismatch": "transfer.on_mismatch",
    "glr": "optim.glr",
    "dlr": "optim.dlr",
    "mirror": "data.mirror",
    "device": "train.device",
    "precision": "train.precision",
    "on_collapse": "diagnose.on_collapse",
    "patience": "diagnose.patience",
}
"""The recipe's key behind each shorthand flag."""


def overrides(**flags: str | int | float | bool | list[str] | None) -> list[Override]:
    """Turn the flags that were given into overrides, shown to the user as the flags that they are."""
    made = []
    for name, value in flags.items():
        if value is None:
            continue
        if isinstance(value, list):
            made += [_factor(text) for text in value]
            continue
        flag = f"--{'from' if name == 'source' else name.replace('_', '-')} {value}"
        if name == "freeze":
            if value != "early":
                raise RecipeError(f"{flag}: wanted early; got {value!r}. To choose the number: --freeze-d-image N")
            made.append(Override("transfer.freeze_d_image=2", flag))
        elif name == "augment":
            operations = [] if value in ("none", "") else [word.strip() for word in str(value).split(",")]
            made.append(Override(f"augment.operations={toml(operations)}", flag))
        elif name == "batch":
            auto = value == "auto"
            made.append(Override("train.auto_batch=true" if auto else f"train.batch={_number(value)}", flag))
        elif name == "mirror":
            made.append(Override(f"data.mirror={toml(value)}", "--mirror" if value else "--no-mirror"))
        else:
            made.append(Override(f"{KEYS[name]}={toml(value)}", flag))
    return made


def _factor(text: str) -> Override:
    block, equals, factor = text.partition("=")
    if not equals or "." in block:
        raise RecipeError(f"--lr-mult {text}: wanted BLOCK=FACTOR; got {text!r}. Example: --lr-mult d32=0.1")
    return Override(f"optim.lr_mult.{block}={factor}", f"--lr-mult {text}")


def _number(value: str | int | float | bool) -> str:
    """A number as it is, and anything else as text, which the recipe will refuse."""
    return str(value) if str(value).removeprefix("-").isdecimal() else toml(str(value))


def numbers(flag: str, text: str) -> list[int]:
    """`1,8,64` as numbers; raises `RecipeError`, which names the flag."""
    words = [word.strip() for word in text.split(",")]
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise RecipeError(f"{flag} {text}: wanted whole numbers > 0, separated by commas, such as 1,8,64")
    return [int(word) for word in words]
