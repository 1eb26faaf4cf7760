"""Claims about the explorer's folder: what is in it, what it replaces and what it leaves alone; and its directions."""

from __future__ import annotations

import hashlib
import json
import re
import socket
import urllib.request
from pathlib import Path
from threading import Thread

import pytest
import torch
from conftest import Cli, tree

from gan_transfer.explorer.directions import principal_directions
from gan_transfer.explorer.serve import server
from gan_transfer.models.dcgan import Generator, initialise
from gan_transfer.recipe import Model

pytest.importorskip("onnx")


def test_the_folder_holds_page_runtime_and_generator_and_is_written_anew(cli: Cli, pair: Path, home: Path) -> None:
    for _ in range(2):
        done = cli("explore", pair)
        assert (done.code, done.out) == (0, "explorer/pair\n")
    files = {str(path.relative_to(home / "explorer/pair")) for path in tree(home / "explorer") if path.is_file()}
    assert {"index.html", "explorer.mjs", "generator.onnx", "explorer.json", "runtime/LICENSE"} <= files
    assert [name for name in files if name.endswith((".xz", ".tmp"))] == []
    for name, wanted in re.findall(
        r"`([\w.-]+)` \| `(\w{64})`", (home / "explorer/pair/runtime/README.md").read_text()
    ):
        assert hashlib.sha256((home / "explorer/pair/runtime" / name).read_bytes()).hexdigest() == wanted


def test_a_folder_of_something_else_stays_as_it_is(cli: Cli, pair: Path, home: Path) -> None:
    (home / "full").mkdir()
    (home / "full" / "explorer.json").write_text('{"made_by": "someone"}')
    (home / "file").write_text("mine")
    before = tree(home)
    assert "holds something else than an explorer" in cli("explore", pair, "--outdir", "full").faults[0]
    assert "is a file, which stays" in cli("explore", pair, "--outdir", "file").faults[0]
    assert "cannot be written" in cli("explore", pair, "--outdir", "file/below").faults[0]
    assert tree(home) == before


def test_an_empty_folder_with_quotes_and_html_in_its_name_is_taken(cli: Cli, pair: Path, home: Path) -> None:
    named = home / 'it\'s <b>"mine"<'
    named.mkdir()
    told = json.loads(cli("explore", pair, "--outdir", named, "--json").out)
    assert told["written"] == str(named)
    assert json.loads((named / "explorer.json").read_text())["latent_dim"] == 8


def test_a_port_in_use_is_told_in_a_line(cli: Cli, pair: Path, home: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = cli("explore", pair, "--serve", "--port", taken.getsockname()[1])
    assert done.code == 2
    assert "in use" in done.err
    assert not (home / "explorer").exists()


def test_modules_and_webassembly_are_served_as_such_on_this_machine_alone(home: Path) -> None:
    (home / "a.mjs").write_text("1")
    (home / "a.wasm").write_text("1")
    with server(home, 0) as serving:
        Thread(target=serving.serve_forever, daemon=True).start()
        kinds = []
        for name in ("a.mjs", "a.wasm"):
            with urllib.request.urlopen(serving.url + name) as answer:
                kinds.append(answer.headers["Content-Type"])
        serving.shutdown()
    assert serving.server_address[0] == "127.0.0.1"
    assert kinds == ["text/javascript", "application/wasm"]


def test_the_first_direction_is_the_one_that_moves_the_first_block_most() -> None:
    generator = Generator(Model(resolution=16, base_channels=4, latent_dim=8))
    initialise(generator, torch.Generator().manual_seed(0))
    weight = next(iter(generator.blocks.values())).conv.weight
    assert isinstance(weight, torch.Tensor)
    weight.data[5] *= 10
    found = principal_directions(generator.eval(), count=10)
    assert found.vectors.shape == (8, 8)
    assert found.vectors[0, 5] > 0.99
    assert found.shares[0] > 0.5
    torch.testing.assert_close(found.vectors.norm(dim=1), torch.ones(8))


def test_directions_depend_on_their_seed_alone_and_touch_no_other_randomness() -> None:
    generator = Generator(Model(resolution=16, base_channels=4, latent_dim=8)).eval()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = principal_directions(generator, 4)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first.vectors, principal_directions(generator, 4).vectors)
