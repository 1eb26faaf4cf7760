"""A generator as an ONNX model, which runs without PyTorch: in onnxruntime, in a browser, on a phone.

Input `z`, float32 [N, latent_dim] from N(0, I); output `image`, float32 [N, C, H, W] in [-1, 1]; N is free. The graph
is written node by node, as the network is a chain of four kinds of layer, so that it needs no tracing and its bytes
depend on the weights alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .. import __version__
from ..errors import GanTransferError, RecipeError, RunError, WeightsError
from ..files import atomic
from ..text import printable, reason
from .dcgan import Block, Generator
from .weights import Pair

OPSET, IR_VERSION = 17, 8
"""Of 2022: old enough for every runtime in use."""
TOLERANCE = 1e-4
"""Between the pictures in [-1, 1] of PyTorch and of the ONNX model."""
EXTRA = "pip install 'gan-transfer[export]'"
"""What to run where `onnx` is missing."""

HALF_RANGE = (1e-2, 6e4)
"""Of the largest weight of a convolution that float16 holds to three digits beside its smaller ones."""

_PROBES = 4  # latents that a model is checked with
_MOST_BYTES = 2**31 - 2**20  # of a protobuf message, less the graph


def to_onnx(generator: Generator, properties: Mapping[str, str], half: bool = False) -> bytes:
    """The bytes of an `.onnx` file.

    Args:
        generator: in eval mode; its batch norms use the stored statistics.
        properties: what the file says of itself besides its version, such as `pair`.
        half: store the convolutions' weights in float16, which halves the file; they are computed with in float32.
            Weights that are too small or too large for that stay as they are.

    Raises:
        GanTransferError: the package `onnx` is not installed.
        WeightsError: the weights are more than an ONNX file can hold.
    """
    size = sum(value.numel() * (2 if half else 4) for value in generator.state_dict().values())
    if size > _MOST_BYTES:
        raise WeightsError(f"the generator has {size / 1e9:.1f} GB of weights; an ONNX file holds at most 2.1 GB")
    onnx = _import_onnx()
    helper, writer = onnx.helper, _Writer(onnx, half)
    last = writer.write(generator)
    model = generator.model
    inputs = helper.make_tensor_value_info("z", 1, ["N", model.latent_dim])
    shape = ["N", int(model.channels), int(model.resolution), int(model.resolution)]
    outputs = helper.make_tensor_value_info(last, 1, shape)
    graph = helper.make_graph(writer.nodes, "generator", [inputs], [outputs], writer.initializers)
    written = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="gan-transfer",
        producer_version=__version__,
        doc_string="A DCGAN generator: latents z from N(0, I) to pictures in [-1, 1], NCHW",
    )
    helper.set_model_props(written, {"version": __version__, **properties})
    return bytes(written.SerializeToString(deterministic=True))


def runner(model: bytes) -> Callable[[Tensor], Tensor] | None:
    """A function from latents to pictures that runs an ONNX model on the CPU; None where onnxruntime is missing."""
    try:
        import onnxruntime
    except ImportError:
        return None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = torch.get_num_threads(), 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda z: torch.from_numpy(session.run(None, {"z": z.numpy()})[0])


@torch.inference_mode()
def check(model: bytes, generator: Generator, tolerance: float = TOLERANCE) -> float | None:
    """The largest difference between the pictures of an ONNX model and of its generator, in [0, 2].

    Args:
        model: what `to_onnx` gave.
        generator: in eval mode, on the CPU.
        tolerance: of what is refused.

    Returns:
        None where onnxruntime is not installed and nothing was checked.

    Raises:
        WeightsError: the difference is larger than `tolerance`, or no number.
    """
    run = runner(model)
    if run is None:
        return None
    z = torch.randn(_PROBES, generator.model.latent_dim, generator=torch.Generator().manual_seed(0))
    difference = float((run(z) - generator(z)).abs().max())
    if not difference <= tolerance:
        raise WeightsError(
            f"the ONNX model is not the generator: its pictures differ by {difference:.2g}, wanted {tolerance:.2g} at "
            "most; nothing was written. Look at the pair: gan-transfer diagnose --network PAIR"
        )
    return difference


def write_onnx(pair: Pair, path: Path | None) -> tuple[Path, float | None]:
    """Write the generator of a pair as an ONNX file; gives its path and what `check` says.

    Args:
        pair: on the CPU.
        path: ends in `.onnx`; None takes the pair's name.

    Raises:
        RecipeError: the path has another ending.
        RunError: it cannot be written.
        WeightsError: the model would not be the generator; nothing is written then.
        GanTransferError: the package `onnx` is not installed.
    """
    path = path or Path(re.sub(r"[^\w.-]+", "-", pair.origin) + ".onnx")
    if path.suffix.lower() != ".onnx":
        raise RecipeError(f"--output {printable(str(path))}: wanted an ending of .onnx")
    properties = {"pair": pair.origin, "kimg": str(pair.info.get("kimg")), "range": "[-1, 1]"}
    model = to_onnx(pair.generator, properties)
    difference = check(model, pair.generator)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as temporary:
            temporary.write_bytes(model)
    except OSError as error:
        raise RunError(
            f"--output {printable(str(path))}: cannot be written ({reason(error)}). Give another --output"
        ) from None
    return path, difference


class _Writer:
    """The graph as it grows: nodes, and the weights that they name as `g4.conv.weight`, like a snapshot."""

    def __init__(self, onnx: Any, half: bool) -> None:
        self.onnx, self.half = onnx, half
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def write(self, generator: Generator) -> str:
        """Write the whole chain; gives the name of what it puts out."""
        axes = self._constant("axes", torch.tensor([2, 3]))
        now = self._node("Unsqueeze", ["z", axes], "map")
        for name, block in generator.blocks.items():
            for kind, inputs, attributes in self._layers(name, block):
                now = self._node(kind, [now, *inputs], f"{name}.{kind.lower()}", attributes)
        self.nodes[-1].output[0] = "image"
        return "image"

    def _layers(self, name: str, block: Block) -> Iterator[tuple[str, list[str], dict[str, Any]]]:
        """Kind, weights and attributes of a block's layers."""
        conv, norm, activation = block.conv, block.norm, block.activation
        assert isinstance(conv, nn.ConvTranspose2d), "every block of a generator has one"
        weights = [self._weight(f"{name}.conv.weight", conv.weight)]
        weights += [] if conv.bias is None else [self._constant(f"{name}.conv.bias", conv.bias)]
        yield "ConvTranspose", weights, _shape(conv)
        if isinstance(norm, nn.BatchNorm2d):
            names = ("weight", "bias", "running_mean", "running_var")
            kept = [self._constant(f"{name}.norm.{key}", getattr(norm, key)) for key in names]
            yield "BatchNormalization", kept, {"epsilon": norm.eps}
        yield ("Tanh" if isinstance(activation, nn.Tanh) else "Relu"), [], {}

    def _weight(self, name: str, value: Tensor) -> str:
        if not self.half or not HALF_RANGE[0] <= value.abs().max() <= HALF_RANGE[1]:
            return self._constant(name, value)
        return self._node("Cast", [self._constant(f"{name}.half", value.half())], name, {"to": 1})

    def _constant(self, name: str, value: Tensor) -> str:
        array = np.ascontiguousarray(value.detach().cpu().numpy())
        self.initializers.append(self.onnx.numpy_helper.from_array(array, name))
        return name

    def _node(self, kind: str, inputs: list[str], output: str, attributes: dict[str, Any] | None = None) -> str:
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [output], name=output, **(attributes or {})))
        return output


def _shape(conv: nn.ConvTranspose2d) -> dict[str, Any]:
    """Kernel, strides and paddings as ONNX wants them: padding for each side, rows first."""
    assert isinstance(conv.padding, tuple), "strides and paddings are numbers here, not words"
    return {
        "kernel_shape": list(conv.kernel_size),
        "strides": list(conv.stride),
        "pads": [*conv.padding, *conv.padding],
        "output_padding": list(conv.output_padding),
    }


def _import_onnx() -> Any:
    try:
        import onnx
    except ImportError:
        raise GanTransferError(f"the package onnx is not installed; run: {EXTRA}") from None
    return onnx
