"""`gan-transfer export` and `gan-transfer explore`: a generator outside Python."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .for_scripts import AsJson, print_json

if TYPE_CHECKING:
    from ..explorer.serve import Server

Where = Annotated[
    str, typer.Argument(metavar="PAIR", help="builtin, hf:ORG/NAME\\[@REVISION], a snapshot or a run folder.")
]


def export(
    where: Where,
    onnx: Annotated[bool, typer.Option("--onnx", help="The format, so far the only one.")] = True,
    output: Annotated[Path | None, typer.Option("--output", help="A .onnx file; PAIR's name by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Write a generator as an ONNX model, checked against PyTorch: input z [N, latent_dim], output image [N, C, H, W].

    Example: gan-transfer export runs/00000-coverart-builtin-covers --onnx
    """
    from ..models.export import OPSET, write_onnx
    from ..transfer.start import open_pair

    path, difference = write_onnx(open_pair(where), output)
    typer.echo(f"ONNX opset {OPSET}; {_checked(difference)}", err=True)
    print_json({"written": path, "opset": OPSET, "difference": difference}) if as_json else print(path)


def explore(
    where: Where,
    outdir: Annotated[
        Path | None, typer.Option("--outdir", help="A new folder, or an explorer's; explorer/NAME by default.")
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Show it on 127.0.0.1 until Ctrl-C.")] = False,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Of --serve; 0 takes a free one.")] = 8765,
    as_json: AsJson = False,
) -> None:
    """Write a page in which the generator runs in the browser: seeds, sliders along directions, ways between seeds.

    Example: gan-transfer explore runs/00000-coverart-builtin-covers --serve
    """
    from ..explorer.folder import default_folder, write_folder
    from ..explorer.serve import server
    from ..transfer.start import open_pair

    pair = open_pair(where)
    folder = outdir or default_folder(pair)
    listening = server(folder, port) if serve else None  # a port in use is told before anything is written
    difference = write_folder(folder, pair)
    typer.echo(_checked(difference), err=True)
    print_json({"written": folder, "difference": difference}) if as_json else print(folder, flush=True)
    if listening:
        _serve(listening)
    else:
        words = f"python -m http.server --bind 127.0.0.1 --directory {shlex.quote(str(folder))}"
        typer.echo(f"next: {words}, then open http://127.0.0.1:8000", err=True)


def _serve(listening: Server) -> None:
    typer.echo(f"open {listening.url}; Ctrl-C ends it", err=True)
    try:
        listening.serve_forever()
    except KeyboardInterrupt:
        listening.server_close()


def _checked(difference: float | None) -> str:
    if difference is None:
        return "not checked against PyTorch, since onnxruntime is not installed: pip install 'gan-transfer[export]'"
    return f"pictures as in PyTorch: in [-1, 1] they differ by {difference:.1g} at most"
