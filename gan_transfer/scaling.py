"""How long a run would take on so many devices, and what it would cost: arithmetic on stated assumptions."""

from __future__ import annotations

import dataclasses

from .geometry import sizes_down, sizes_up
from .models.dcgan import Discriminator, Generator
from .recipe import Model

G_PASSES, D_PASSES = 3, 8
"""Of a picture in a step. G: forward, and backward to its weights and its maps. D: two looks forward and backward to
weights and maps, and G's look at it forward and backward to its maps alone."""

ACCESSES = 5 + 8
"""Of every number of a network's maps in a pass forward and backward, batch norm and activation taken together. Forward
a convolution writes it, batch norm reads it twice (statistics, values) and writes it, the next convolution reads it.
Backward its gradient is written, both are read for batch norm's sums and again for its values, the gradient is written,
and both are read for the products.
"""

MAP_PASSES = 1, 3
"""Forward and backward through the maps of G, and through those of D: two looks, and the one that G learns from."""

FLOAT = 4  # bytes


@dataclasses.dataclass(frozen=True)
class Device:
    """How quick one device is: a step of n pictures takes `fixed` + n * `each` seconds."""

    fixed: float
    each: float


@dataclasses.dataclass(frozen=True)
class Network:
    """What joins the devices.

    Attributes:
        bandwidth: bytes per second that a device sends while it receives as many.
        latency: seconds from one device to the next.
    """

    bandwidth: float
    latency: float = 10e-6


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A run on so many devices.

    Attributes:
        devices: how many.
        img_per_sec: of all together.
        efficiency: that, beside as many times the speed of one.
        hours: of the whole run, without packing, snapshots and looks.
        device_hours: to be paid for.
    """

    devices: int
    img_per_sec: float
    efficiency: float
    hours: float
    device_hours: float


def multiply_adds(model: Model) -> tuple[int, int]:
    """Multiply-adds of one picture forward through the generator, and of one through the discriminator."""
    entering, before, in_g = model.latent_dim, 1, 0
    for layer, size in zip(model.generator_layers, sizes_up(model.generator_layers), strict=True):
        leaving = int(model.channels) if size == model.resolution else layer.channels
        in_g += before**2 * entering * leaving * layer.kernel**2
        entering, before = leaving, size
    entering, in_d = int(model.channels), 0
    for layer, size in zip(
        model.discriminator_layers, sizes_down(model.discriminator_layers, model.resolution), strict=True
    ):
        leaving = 1 if size == 1 else layer.channels
        in_d += size**2 * entering * leaving * layer.kernel**2
        entering = leaving
    return in_g, in_d


def step_multiply_adds(model: Model) -> int:
    """Multiply-adds of a step of training per real picture, gradient penalties left out."""
    in_g, in_d = multiply_adds(model)
    return G_PASSES * in_g + D_PASSES * in_d


def step_bytes(model: Model, width: int) -> int:
    """Bytes that a step of training must read and write of the networks' maps per real picture, at `width` bytes each.

    Weights and their gradients, which a step moves once for all pictures, are left out.
    """
    in_g = [layer.channels for layer in model.generator_layers[:-1]] + [int(model.channels)]
    in_d = [layer.channels for layer in model.discriminator_layers[:-1]] + [1]
    maps_g = sum(c * size**2 for c, size in zip(in_g, sizes_up(model.generator_layers), strict=True))
    sizes = sizes_down(model.discriminator_layers, model.resolution)
    maps_d = sum(c * size**2 for c, size in zip(in_d, sizes, strict=True))
    return (MAP_PASSES[0] * maps_g + MAP_PASSES[1] * maps_d) * ACCESSES * width


def exchanged_bytes(model: Model) -> tuple[int, int]:
    """Bytes of the gradients of the generator and of the discriminator, each of which is averaged once in a step."""
    pair = Generator(model), Discriminator(model)
    in_g, in_d = (FLOAT * sum(p.numel() for p in network.parameters()) for network in pair)
    return in_g, in_d


def fit(few: tuple[int, float], many: tuple[int, float]) -> Device:
    """The device on which steps of two sizes took so many seconds: ((pictures, seconds), (pictures, seconds))."""
    each = max((many[1] - few[1]) / (many[0] - few[0]), 0.0)
    fixed = max(many[1] - many[0] * each, 0.0)
    return Device(fixed, each) if each else Device(0.0, many[1] / many[0])


def estimate(model: Model, device: Device, network: Network, batch: int, kimg: float, devices: int) -> Estimate:
    """A run whose batch is shared by so many devices.

    Gradients go round a ring (Patarasuk & Yuan 2009): each device sends 2 (n - 1) / n times their bytes in 2 (n - 1)
    messages, while nothing is computed.

    Args:
        model: the shape.
        device: one of them.
        network: between them.
        batch: pictures in a step, over all devices.
        kimg: length of the run.
        devices: how many.
    """
    hops, alone = 2 * (devices - 1), device.fixed + batch * device.each
    exchange = sum(hops * (size / devices / network.bandwidth + network.latency) for size in exchanged_bytes(model))
    seconds = device.fixed + batch / devices * device.each + exchange * (devices > 1)
    hours = kimg * 1000 / batch * seconds / 3600
    return Estimate(devices, batch / seconds, alone / devices / seconds, hours, hours * devices)
