"""Claims about `gan-transfer import`: what it writes and says, from files and the Hub, and what a run makes of it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY, Cli, sets
from hub_server import HubServer
from reading import config, newest_snapshot, weights
from strangers import discriminator, same_logits, same_pictures, tutorial_d, tutorial_g
from torch import nn

from gan_transfer.files import sha256
from gan_transfer.models.weights import load_pair

pytestmark = pytest.mark.usefixtures("home")
SILENT = {key: value for key, value in TINY.items() if not key.startswith("model.")}


def save(name: str, content: object) -> Path:
    torch.save(content, name)
    return Path(name)


def imported(cli: Cli, *words: object) -> tuple[Path, list[str]]:
    done = cli("import", *words)
    assert done.code == 0, done.err
    return Path(done.out.strip()), done.err.splitlines()


def fault(cli: Cli, *words: object) -> str:
    done = cli("import", *words)
    assert (done.code, done.out) == (2, "")
    (line,) = done.faults
    return line


def small_g(**changes: Any) -> nn.Module:
    return tutorial_g(**{"nz": 9, "ngf": 4, "count": 4} | changes)


def small_d(**changes: Any) -> nn.Module:
    return tutorial_d(**{"ndf": 4, "count": 4} | changes)


def bytes_of(network: nn.Module) -> bytes:
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    return buffer.getvalue()


def test_two_files_become_a_snapshot_that_records_them(cli: Cli) -> None:
    g, d = small_g(), small_d()
    files = [save("netG_epoch_9.pth", g.state_dict()), save("netD_epoch_9.pth", d.state_dict())]
    folder, said = imported(cli, *files)
    assert folder == Path("imported/netG_epoch_9")
    pair = load_pair(folder)
    assert same_pictures(g, pair.generator, 9)
    assert same_logits(d, pair.discriminator, 3, 32)  # type: ignore[arg-type]
    assert pair.info["imported"] == {
        "files": {str(file): sha256(file) for file in files},
        "layout": "dcgan",
        "generator": "netG_epoch_9.pth",
        "discriminator": "netD_epoch_9.pth",
    }
    assert "drawn" not in pair.info
    assert said[0] == "generator: 32x32 colour, 16, 8, 4 channels, latents of 9, from netG_epoch_9.pth"
    assert said[1] == "discriminator: 32x32 colour, 4, 8, 16 channels, from netD_epoch_9.pth"
    assert said[-1] == "next: gan-transfer finetune --target NAME --from imported/netG_epoch_9"


def test_both_networks_may_lie_in_one_file_beside_other_things(cli: Cli) -> None:
    g, d = small_g(), small_d()
    content = {"netG": g.state_dict(), "netD": d.state_dict(), "fixed_noise": torch.randn(4, 9, 1, 1), "epoch": 3}
    folder, _ = imported(cli, save("both.pth", content), "--output", "mine")
    assert folder == Path("mine")
    record = config(folder)["imported"]
    assert (record["generator"], record["discriminator"]) == ("both.pth (netG)", "both.pth (netD)")
    assert same_pictures(g, load_pair(folder).generator, 9)


def test_the_moving_average_is_taken_where_there_is_one(cli: Cli) -> None:
    g, average = small_g(), small_g(ngf=8)
    folder, _ = imported(cli, save("c.pth", {"g": g.state_dict(), "g_ema": average.state_dict()}))
    assert config(folder)["imported"]["generator"] == "c.pth (g_ema)"
    assert same_pictures(average, load_pair(folder).generator, 9)


def test_the_partner_of_a_network_alone_is_drawn_and_said_to_be(cli: Cli) -> None:
    g, d = small_g(), small_d()
    for network, word, partner, letter in (
        (g, "generator", "discriminator", "D"),
        (d, "discriminator", "generator", "G"),
    ):
        folder, said = imported(cli, save(f"{word}.pth", network.state_dict()))
        assert f"{partner}: none was given; it is drawn anew, and a run from this pair begins with it untrained" in said
        assert config(folder)["imported"][partner] == "drawn anew, seed 0"
        assert config(folder)["drawn"] == letter
        pair = load_pair(folder)
        assert pair.discriminator(pair.generator(torch.randn(2, pair.model.latent_dim))).shape == (2,)


def test_a_fine_tune_keeps_the_imported_network_and_draws_its_partner(cli: Cli) -> None:
    d = small_d()
    folder, _ = imported(cli, save("netD.pth", d.state_dict()))
    done = cli("finetune", "--target", "coverart", *sets(SILENT), "--from", folder, "--kimg", 0.016)
    assert done.code == 0, done.err
    rows = json.loads((Path(done.out.strip()) / "blocks.json").read_text())
    assert {row["start"]["network"]: row["start"]["start"] for row in rows} == {"G": "re-drawn", "D": "kept"}
    refused = cli("finetune", "--target", "coverart", *sets(SILENT), "--from", folder, "--freeze-g-latent", 1, "--new")
    assert "G g4 cannot be frozen: drawn anew" in refused.faults[0]


def test_a_pair_with_layers_of_its_own_is_trained_frozen_and_published_with_them(cli: Cli) -> None:
    d = discriminator(3, [4, 8, 16], [(4, 2, 1)] * 4, 28)
    folder, said = imported(cli, save("netD.pth", d.state_dict()), "--layout", "mnist")
    assert said[0] == "discriminator: 28x28 colour, 4, 8, 16 channels, from netD.pth"
    words = ("--target", "coverart", *sets(SILENT), "--from", folder, "--freeze-d-image", 2, "--kimg", 0.016)
    for precision in ("float32", "bfloat16"):
        done = cli("finetune", *words, "--precision", precision, "--outdir", precision)
        assert done.code == 0, done.err
        snapshot = newest_snapshot(Path(done.out.strip()))
        assert config(snapshot)["model"] == config(folder)["model"]
        ours, theirs = weights(snapshot), weights(folder)
        assert all(
            torch.equal(ours[f"d.{name}.conv.weight"], theirs[f"d.{name}.conv.weight"]) for name in ("d14", "d7")
        )
        assert not torch.equal(ours["d.d3.conv.weight"], theirs["d.d3.conv.weight"])


def test_asked_for_another_resolution_such_a_pair_keeps_the_blocks_that_fit(cli: Cli) -> None:
    g, d = small_g(ngf=8), small_d(ndf=12)
    folder, _ = imported(cli, save("c.pth", {"g": g.state_dict(), "d": d.state_dict()}))
    assert len(config(folder)["model"]["layers_d"]) == 4
    words = ("--target", "coverart", *sets(SILENT), "--from", folder, "--kimg", 0.016)
    done = cli("finetune", *words, "--set", "model.resolution=64")
    assert done.code == 0, done.err
    snapshot = newest_snapshot(Path(done.out.strip()))
    assert (config(snapshot)["model"]["resolution"], config(snapshot)["model"]["layers_d"]) == (64, [])
    rows = json.loads((Path(done.out.strip()) / "blocks.json").read_text())
    assert {row["start"]["block"] for row in rows if row["start"]["start"] == "kept"} == {"g4", "g8", "g16"}


def test_an_output_that_is_there_stays(cli: Cli, home: Path) -> None:
    file = save("netG.pth", small_g().state_dict())
    (home / "mine").mkdir()
    assert fault(cli, file, "--output", "mine") == "--output mine exists already and stays. Give another --output"
    (home / "file").touch()
    assert fault(cli, file, "--output", "file/mine").startswith("--output file/mine: cannot be written (")


def test_networks_of_one_kind_are_not_guessed_between(cli: Cli) -> None:
    g = save("netG.pth", small_g().state_dict())
    assert fault(cli, g, g) == (
        "netG.pth and netG.pth both hold a generator; give the generator of one of them: gan-transfer import FILE"
    )
    two = save("two.pth", {"a": small_g().state_dict(), "b": small_g().state_dict()})
    assert fault(cli, two).startswith("two.pth holds 2 networks of one kind, each a generator: a, b; save the one")


def test_nothing_is_written_for_a_file_that_is_refused(cli: Cli, home: Path) -> None:
    (home / "page.pth").write_text("<html>")
    assert fault(cli, "page.pth").startswith("page.pth is a web page, not the weights")
    assert [path.name for path in home.iterdir()] == ["page.pth"]


# The Hub


def test_a_file_on_the_hub_is_imported_and_recorded_with_its_commit(cli: Cli, hub: HubServer) -> None:
    g = small_g()
    repo = hub.add_repo("some/dcgan", {"weights/netG.pth": bytes_of(g), "README.md": b"mine"})
    folder, said = imported(cli, "hf:some/dcgan:weights/netG.pth")
    address = f"hf:some/dcgan@{repo.branches['main']}:weights/netG.pth"
    assert folder == Path("imported/netG")
    assert list(config(folder)["imported"]["files"]) == [address]
    assert said[0].endswith(f"from {address}")
    assert same_pictures(g, load_pair(folder).generator, 9)
    hub.close()
    assert cli("import", "hf:some/dcgan@main:weights/netG.pth", "--output", "again").code == 0
    assert config(Path("again"))["imported"] == config(folder)["imported"]


def test_a_repository_without_a_file_named_lists_its_weights_and_the_command(cli: Cli, hub: HubServer) -> None:
    hub.add_repo("some/dcgan", {"netG.pth": b"x", "netD.pth": b"x", "README.md": b"mine"})
    assert fault(cli, "hf:some/dcgan") == (
        "hf:some/dcgan is a repository; wanted a file in it; it holds netD.pth, netG.pth. "
        "Run: gan-transfer import hf:some/dcgan:netD.pth"
    )
    assert fault(cli, "hf:some/dcgan:net.pth").startswith("hf:some/dcgan has no file 'net.pth'; it holds netD.pth, ")
    hub.add_repo("some/words", {"README.md": b"mine"})
    assert "holds no weights. Look there: " in fault(cli, "hf:some/words:netG.pth")


def test_what_the_hub_refuses_or_does_not_have_is_told(cli: Cli, hub: HubServer) -> None:
    hub.add_repo("some/dcgan", {"netG.pth": b"<html>"})
    assert "hf:no/thing is not at " in fault(cli, "hf:no/thing:netG.pth")
    assert "hf:some/dcgan has no revision 'v9'" in fault(cli, "hf:some/dcgan@v9:netG.pth")
    assert fault(cli, "hf:dcgan").startswith("'hf:dcgan' names no file on the Hub; wanted hf:ORG/NAME[@REVISION]:FILE")
    assert "is a web page, not the weights" in fault(cli, "hf:some/dcgan:netG.pth")
    hub.close()
    told = fault(cli, "hf:some/other:netG.pth")
    assert "hf:some/other cannot be reached at " in told
    assert told.endswith("or get the file in another way and give it: gan-transfer import FILE")


def test_a_download_that_breaks_off_is_told(cli: Cli, hub: HubServer) -> None:
    hub.add_repo("some/dcgan", {"netG.pth": bytes_of(small_g())})
    hub.fail_next("GET .*/resolve/", 403, times=9)
    hub.fail_next("HEAD .*/resolve/", 403, times=9)
    assert "hf:some/dcgan is refused at " in fault(cli, "hf:some/dcgan:netG.pth")
