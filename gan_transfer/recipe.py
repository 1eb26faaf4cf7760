"""The sections of a recipe: every setting with its unit, range and meaning. Free of torch.

A recipe is a TOML file whose tables are these sections. What None means is said at each field.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

from . import config, conflicts, geometry
from .errors import RecipeError
from .explain import toml
from .geometry import Layer
from .resources import resource_dir
from .text import portable

KEEPING = {
    "transfer": ("freeze_d_image", "freeze_g_image", "freeze_g_latent", "train_only"),
    "anchor": ("l2_sp", "ewc", "cdc"),
    "optim": ("thaw_kimg",),
}
"""Settings by section that keep something of the source pair."""
NOTHING = {"train_only": '"all"'}
"""What keeps nothing, where it is not 0."""

Forbid = {"extra": "forbid"}  # pydantic: an unknown key is a fault

Resolution = Literal[16, 28, 32, 64, 128, 256]
Loss = Literal["non-saturating", "minimax", "hinge", "least-squares", "relativistic"]
Crop = Literal["center", "celeba", "none"]
Augmentation = Literal["color", "translation", "cutout"]
Mismatch = Literal["error", "skip", "adapt"]


@dataclasses.dataclass(frozen=True)
class Data:
    """Where the real pictures come from and how they are cut."""

    __pydantic_config__ = Forbid
    source: str = "builtin:covers"
    """A data source `kind:where` (see `gan-transfer data ls`), a plain path, or `hf` for the set named by `hub`."""
    hub: str = ""
    """The target's usual set on the Hugging Face Hub, `hf:org/name[@revision][:split]`; taken by `--data hf`."""
    crop: Crop = "center"
    """`center`: the largest centred square; `celeba`: the face in CelebA's aligned pictures; `none`: squashed."""
    mirror: bool = False
    """Flip half of the real pictures left to right. Off where text or handedness matters."""
    held_out: Annotated[int, Ge(0)] = 0
    """Pictures kept from training, the same ones in every run on the same data, to measure against."""
    workers: Annotated[int, Ge(0)] = 0
    """Threads that decode pictures into the pack; 0 takes one per processor."""


@dataclasses.dataclass(frozen=True)
class Model:
    """The shape of the generator and the discriminator (Radford et al. 2016)."""

    __pydantic_config__ = Forbid
    resolution: Resolution = 64
    """Height and width of a picture, pixels."""
    channels: Literal[1, 3] = 3
    """1 for grey, 3 for RGB."""
    latent_dim: Annotated[int, Ge(1), Le(4096)] = 100
    """Length of a latent z, drawn from N(0, I)."""
    base_channels: Annotated[int, Ge(4), Le(1024)] = 64
    """Channels at 32 x 32 pixels; halved towards the image, doubled towards the latent."""
    norm_d: Literal["batch", "spectral", "none"] = "batch"
    """Normalisation in the discriminator; `batch` is the paper's."""
    dropout_d: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Dropout probability after the discriminator's LeakyReLUs; needs norm_d other than `batch`, or 0."""
    stack: Annotated[int, Ge(1), Le(8)] = 1
    """Pictures that the discriminator judges together, stacked in their channels (PacGAN, Lin et al. 2018)."""
    minibatch_std: bool = False
    """Show the discriminator's last block how much the pictures of a group of four differ (Karras et al. 2018)."""
    bias: bool = False
    """Biases in the convolutions at the picture and at the logit; with norm_d other than `batch` D has them anyway."""
    layers_g: tuple[Layer, ...] = ()
    """The generator's convolutions as `gan-transfer import` found them; empty: by the rule of base_channels."""
    layers_d: tuple[Layer, ...] = ()
    """The discriminator's, likewise."""

    @property
    def generator_layers(self) -> tuple[Layer, ...]:
        """The generator's convolutions, from latent to picture."""
        return self.layers_g or geometry.generator_layers(self.resolution, self.base_channels, self.channels)

    @property
    def discriminator_layers(self) -> tuple[Layer, ...]:
        """The discriminator's convolutions, from picture to logit."""
        return self.layers_d or geometry.discriminator_layers(self.resolution, self.base_channels)

    @property
    def generator_blocks(self) -> list[str]:
        """Names of the generator's blocks, from latent to picture."""
        return [f"g{size}" for size in geometry.sizes_up(self.generator_layers)]

    @property
    def discriminator_blocks(self) -> list[str]:
        """Names of the discriminator's blocks, from picture to logit."""
        return [f"d{size}" for size in geometry.sizes_down(self.discriminator_layers, self.resolution)]


@dataclasses.dataclass(frozen=True)
class Transfer:
    """What a run starts from and which blocks stay as they were."""

    __pydantic_config__ = Forbid
    source: str = "none"
    """`none` (from scratch), `builtin` (the embedded pair), `hf:ORG/NAME[@REVISION]`, a snapshot or a run folder."""
    freeze_d_image: Annotated[int, Ge(0)] = 0
    """Discriminator blocks frozen, counted from the image (FreezeD)."""
    freeze_g_image: Annotated[int, Ge(0)] = 0
    """Generator blocks frozen, counted from the image (Zhao et al. 2020)."""
    freeze_g_latent: Annotated[int, Ge(0)] = 0
    """Generator blocks frozen, counted from the latent."""
    train_only: Literal["all", "bn-affine"] = "all"
    """`bn-affine`: of the generator only batch norm's gains and offsets learn (Noguchi & Harada 2019), and its block
    at the image, which has no batch norm and without which the palette could not move."""
    on_mismatch: Mismatch = "adapt"
    """Blocks of another shape than the source's: `adapt` turns what can be turned into it and draws the rest anew,
    `skip` draws them all anew, `error` refuses."""
    recalibrate_batches: Annotated[int, Ge(1)] = 100
    """Batches over which a frozen block's batch-norm statistics are taken anew on the target."""


@dataclasses.dataclass(frozen=True)
class Anchor:
    """Terms that hold the networks to the pair they began from. Each is a weight; 0 is off."""

    __pydantic_config__ = Forbid
    l2_sp: Annotated[float, Ge(0)] = 0.0
    """The relative change of every weight tensor of both networks, squared (L2-SP, Li et al. 2018)."""
    ewc: Annotated[float, Ge(0)] = 0.0
    """The same for the generator, each weight by its Fisher information (EWC, Li et al. 2020)."""
    cdc: Annotated[float, Ge(0)] = 0.0
    """How differently from the source generator's its features liken latents (CDC, Ojha et al. 2021)."""


@dataclasses.dataclass(frozen=True)
class Objective:
    """The adversarial loss and the penalties on the discriminator."""

    __pydantic_config__ = Forbid
    loss: Loss = "non-saturating"
    """`non-saturating` and `minimax` are Goodfellow et al. 2014; `relativistic` is the paired form of R3GAN."""
    real_label: Annotated[float, Gt(0.5), Le(1)] = 1.0
    """Target for real pictures; 0.9 is one-sided label smoothing. `hinge` and `relativistic` have none."""
    r1_gamma: Annotated[float, Ge(0)] = 0.0
    """Weight of R1, the squared gradient of D at real pictures (times gamma / 2); 0 is off."""
    r2_gamma: Annotated[float, Ge(0)] = 0.0
    """Weight of R2, the same at fakes; 0 is off."""
    penalty_interval: Annotated[int, Ge(1)] = 16
    """Steps between two penalties (lazy regularisation: the penalty is multiplied by the interval)."""
    lecam: Annotated[float, Ge(0)] = 0.0
    """Weight of LeCam, which keeps D's logits near their moving averages (Tseng et al. 2021); 0 is off."""
    mode_seeking: Annotated[float, Ge(0)] = 0.0
    """Weight of the term that drives pictures of different latents apart (MSGAN, Mao et al. 2019); 0 is off."""
    moments: Annotated[float, Ge(0)] = 0.0
    """Weight of the term that holds the fakes to the reals' brightness and contrast, which batch norm hides from D."""


@dataclasses.dataclass(frozen=True)
class Augment:
    """DiffAugment: the same random operations before every look of the discriminator (Zhao et al. 2020)."""

    __pydantic_config__ = Forbid
    operations: tuple[Augmentation, ...] = ()
    """Any of `color`, `translation`, `cutout`, in this order; empty is off."""
    p: Annotated[float, Ge(0), Le(1)] = 1.0
    """Probability that an operation touches a picture; with ada_target, the most that it may become."""
    ada_target: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Move the probability, from 0, until E sign D(x) is this (ADA, Karras et al. 2020, who took 0.6); 0 is off."""
    ada_kimg: Annotated[float, Gt(0)] = 100.0
    """Thousands of images in which the probability can move from 0 to 1; short against the length of the run."""


@dataclasses.dataclass(frozen=True)
class Optim:
    """Adam for both networks."""

    __pydantic_config__ = Forbid
    glr: Annotated[float, Gt(0), Le(1)] = 2e-4
    """Learning rate of the generator."""
    dlr: Annotated[float, Gt(0), Le(1)] = 2e-4
    """Learning rate of the discriminator."""
    beta1: Annotated[float, Ge(0), Lt(1)] = 0.5
    """Adam's first decay."""
    beta2: Annotated[float, Ge(0), Lt(1)] = 0.999
    """Adam's second decay."""
    lr_mult: dict[str, Annotated[float, Gt(0), Le(100)]] = dataclasses.field(default_factory=dict)
    """Factors on the learning rate of single blocks, by name, such as `{ d32 = 0.1, g64 = 0.1 }`."""
    block_decay: Annotated[float, Ge(1), Le(100)] = 1.0
    """Discriminative rates: each block nearer to the image learns by so many times slower. Howard & Ruder 2018: 2.6."""
    thaw_kimg: Annotated[float, Ge(0)] = 0.0
    """Gradual unfreezing: after every so many kimg one more block of each network begins to learn, the one furthest
    from the image first (Howard & Ruder 2018); 0: all learn from the start."""


@dataclasses.dataclass(frozen=True)
class Ema:
    """The exponential moving average of the generator, which is what gets sampled and published."""

    __pydantic_config__ = Forbid
    half_life_kimg: Annotated[float, Ge(0)] = 10.0
    """Thousands of images after which a weight's influence has halved; 0 copies the generator."""
    rampup: Annotated[float, Ge(0), Le(1)] = 0.05
    """The half-life is at most this share of the images seen so far; 0 turns the ramp off."""
    recalibrate_batches: Annotated[int, Ge(1)] = 100
    """Batches, of at most 64, over which batch-norm statistics are taken anew before a snapshot."""


@dataclasses.dataclass(frozen=True)
class Train:
    """The clock. Everything is counted in kimg: thousands of real images shown to the discriminator."""

    __pydantic_config__ = Forbid
    kimg: Annotated[float, Gt(0)] = 100.0
    """Length of the run."""
    batch: Annotated[int, Ge(2)] = 64
    """Images in a step, over all ranks."""
    auto_batch: bool = False
    """Instead, as many as fit into memory and pay: doubled while that trains at least 5 % quicker."""
    seed: Annotated[int, Ge(0), Lt(2**32)] = 0
    """Seed of weights, latents, order and augmentation."""
    tick_kimg: Annotated[float, Gt(0)] = 1.0
    """Between two lines of `stats.jsonl`; on a GPU at least 64 steps."""
    snapshot_kimg: Annotated[float, Gt(0)] = 20.0
    """Between two snapshots with their sample grids."""
    checkpoint_kimg: Annotated[float, Gt(0)] = 10.0
    """Between two checkpoints, from which the same command resumes; more where they would take over 2 % of the time."""
    grid: Annotated[int, Ge(1), Le(32)] = 8
    """Rows and columns of a sample grid."""
    device: str = "auto"
    """`auto`, `cpu`, `cuda`, `cuda:N` or `mps`; `auto` takes the fastest that is there."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Arithmetic of the networks; `auto` is bfloat16 where the hardware multiplies in it."""
    compile: bool = False
    """Fuse what both networks do with `torch.compile`, which takes a minute at the start and needs a C++ compiler."""
    sync_bn: bool = False
    """Batch norm by the statistics of the whole batch, not of each rank's share of it. Costs an exchange per layer."""


@dataclasses.dataclass(frozen=True)
class Diagnose:
    """Looks at the averaged generator at its snapshots, and what follows when it collapses."""

    __pydantic_config__ = Forbid
    extractor: str = "builtin"
    """The feature extractor, such as `builtin` or `timm:resnet18.a1_in1k`; `none` takes no look."""
    fakes: Annotated[int, Ge(64), Le(4096)] = 512
    """Pictures of a look; below 256 much is overlooked."""
    on_collapse: Literal["warn", "stop", "rollback"] = "warn"
    """`stop` ends the run; `rollback` goes back to the last good look with halved learning rates, three times at most.
    `warn` only tells: whatever is trained afterwards, the best snapshot stays in `best/`."""
    patience: Annotated[int, Ge(0)] = 0
    """Looks without a better KID after which the run ends; 0 never ends it."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One run, whole."""

    __pydantic_config__ = Forbid
    name: str = "recipe"
    """Appears in the run folder's name; by default the file's name."""
    data: Data = dataclasses.field(default_factory=Data)
    model: Model = dataclasses.field(default_factory=Model)
    transfer: Transfer = dataclasses.field(default_factory=Transfer)
    anchor: Anchor = dataclasses.field(default_factory=Anchor)
    objective: Objective = dataclasses.field(default_factory=Objective)
    augment: Augment = dataclasses.field(default_factory=Augment)
    optim: Optim = dataclasses.field(default_factory=Optim)
    ema: Ema = dataclasses.field(default_factory=Ema)
    train: Train = dataclasses.field(default_factory=Train)
    diagnose: Diagnose = dataclasses.field(default_factory=Diagnose)


def load_recipe(kind: str | None, name: str, overrides: Sequence[str | config.Override] = ()) -> Recipe:
    """Read and check a recipe; the same as `load_recipe_with_origin` without the origins."""
    return load_recipe_with_origin(kind, name, overrides)[0]


def load_recipe_with_origin(
    kind: str | None, name: str, overrides: Sequence[str | config.Override] = ()
) -> tuple[Recipe, dict[str, str]]:
    """Read and check a shipped recipe, or a path to a `.toml` file, and say where each value came from.

    Args:
        kind: `pretrain` or `finetune`; None takes a recipe of either.

    Returns:
        The recipe, and for each `section.key` one of `default`, the file's path, or the override as typed.

    Raises:
        RecipeError: no such recipe, or settings are not usable: one line for each fault.
    """
    shipped = resource_dir("recipes")
    path = config.resolve(kind, name, shipped)
    search = (shipped, shipped / "pretrain", shipped / "finetune")
    recipe, origin = config.load_with_origin(Recipe, path, overrides, search, {"name": portable(path.stem)})
    left_to_pair = recipe.transfer.source != "none"
    undecided = {key for key, source in origin.items() if left_to_pair and source == "default"}
    check_together(recipe, origin, undecided)
    return recipe, origin


def check_together(recipe: Recipe, origin: dict[str, str], undecided: Collection[str] = ()) -> None:
    """Check what can be wrong between settings that are fine by themselves.

    Args:
        recipe: its model section may be the default where the source pair will decide it.
        origin: where each value came from, for the message.
        undecided: keys of the model that the source pair will decide; what hangs on them is not judged.

    Raises:
        RecipeError: one line for each fault, which opens with where the value came from and its key.
    """
    problems = _name_faults(recipe.name) + _transfer_faults(recipe) + _method_faults(recipe)
    if "model.norm_d" not in undecided:
        problems += _norm_faults(recipe)
    if not {"model.stack", "model.minibatch_std"} & set(undecided):
        problems += conflicts.group_faults(recipe.train.batch, recipe.model.stack, recipe.model.minibatch_std)
    if "model.resolution" not in undecided:
        problems += [f"model.{line}" for line in _layer_faults(recipe.model)]
        problems += _freeze_faults(recipe.transfer, recipe.model) + _rate_faults(recipe)
    if problems:
        raise RecipeError("\n".join(f"{origin[problem.partition(':')[0]]}: {problem}" for problem in problems))


def _name_faults(name: str) -> list[str]:
    return (
        [] if name == portable(name) else [f"name: wanted text that can be part of a folder's name; got {toml(name)}"]
    )


def _norm_faults(recipe: Recipe) -> list[str]:
    """Batch norm in the discriminator excludes dropout (Li et al. 2019) and gradient penalties."""
    if recipe.model.norm_d != "batch":
        return []
    wanted = 'wanted 0, or model.norm_d = "none" or "spectral"'
    lines = []
    if recipe.model.dropout_d > 0:
        lines.append(f"model.dropout_d: {recipe.model.dropout_d} before batch norm shifts its variance; {wanted}")
    for key in ("r1_gamma", "r2_gamma"):
        gamma = getattr(recipe.objective, key)
        if gamma > 0:  # each picture's logit depends on the whole batch, so its gradient is not its own
            lines.append(f"objective.{key}: {gamma} has the wrong scale with batch norm; {wanted}")
    return lines


def _transfer_faults(recipe: Recipe) -> list[str]:
    """What keeps something of a source pair where there is none."""
    if recipe.transfer.source != "none":
        return []
    keys = [(section, key) for section, below in KEEPING.items() for key in below]
    given = [(section, key) for section, key in keys if getattr(getattr(recipe, section), key) not in (0, "all")]
    return [
        f'{section}.{key}: nothing to keep with transfer.source = "none"; '
        f'wanted {NOTHING.get(key, "0")}, or a transfer.source such as "builtin"'
        for section, key in given
    ]


def _method_faults(recipe: Recipe) -> list[str]:
    """Methods that exclude each other, or lack what they work on."""
    transfer, augment = recipe.transfer, recipe.augment
    keeps = [
        f"{key} = {toml(value)}" for key in KEEPING["transfer"] if (value := getattr(transfer, key)) not in (0, "all")
    ]
    return [
        *conflicts.thaw_faults(recipe.optim.thaw_kimg, keeps),
        *conflicts.lecam_faults(recipe.objective.lecam, recipe.objective.loss),
        *conflicts.compile_faults(recipe.train.compile, recipe.objective.r1_gamma, recipe.objective.r2_gamma),
        *conflicts.ada_faults(augment.ada_target, augment.p, augment.operations),
    ]


def _rate_faults(recipe: Recipe) -> list[str]:
    """Learning rates of blocks that are not there or do not learn."""
    transfer = recipe.transfer
    in_g, in_d = recipe.model.generator_blocks, recipe.model.discriminator_blocks
    frozen = {*in_g[: transfer.freeze_g_latent], *in_g[len(in_g) - transfer.freeze_g_image :]}
    return conflicts.rate_faults(recipe.optim.lr_mult, [*in_g, *in_d], frozen | {*in_d[: transfer.freeze_d_image]})


def _layer_faults(model: Model) -> list[str]:
    return geometry.faults(model.resolution, model.layers_g, model.layers_d)


def _freeze_faults(transfer: Transfer, model: Model) -> list[str]:
    """More blocks frozen than the networks can spare."""
    in_g, in_d = len(model.generator_layers), len(model.discriminator_layers)
    lines = []
    if transfer.freeze_d_image >= in_d:
        wanted = f"{in_d} blocks at {model.resolution} pixels; wanted at most {in_d - 1}"
        lines.append(
            f"transfer.freeze_d_image: {transfer.freeze_d_image} frozen leave none of the discriminator's {wanted}"
        )
    image, latent = transfer.freeze_g_image, transfer.freeze_g_latent
    if image + latent >= in_g:
        key = "freeze_g_image" if image else "freeze_g_latent"
        sides = f"{image} frozen on the image side and {latent} on the latent side"
        wanted = f"{in_g} blocks at {model.resolution} pixels; wanted at most {in_g - 1} together"
        lines.append(f"transfer.{key}: {sides} leave none of the generator's {wanted}")
    return lines
