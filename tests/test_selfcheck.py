"""The verdict is put to the test: small here on drawn pictures, in full on real ones where they are."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gan_transfer.data.pack import PackSettings, cached_pack
from gan_transfer.data.sources import open_source
from gan_transfer.diagnostics.extractors import open_extractor
from gan_transfer.diagnostics.reference import Pictures
from gan_transfer.errors import DataError
from gan_transfer.examine import pictures_of
from gan_transfer.report.selfcheck_table import show_selfcheck
from gan_transfer.sampling import sample
from gan_transfer.selfcheck import BARS, Table, Trials, check_diagnostics
from gan_transfer.transfer.start import open_generator

DATA = Path(os.environ.get("GAN_TRANSFER_DATA", Path(__file__).parents[2] / "shared" / "data"))
SETS = {
    "celeba_8k_89x109.zip": "celeba",
    "song_jackets_6000_96px.zip": "center",
    "tiny_imagenet_a_15k_64px.zip": "center",
}


@pytest.fixture(scope="module")
def drawn() -> Pictures:
    """Samples of the embedded pair stand for real pictures: varied, and there without any download."""
    pictures = sample(open_generator("builtin"), range(1200))

    def load(rows: object) -> Tensor:
        return pictures[torch.tensor(rows)]

    return Pictures("samples", "samples", 64, "center", len(pictures), load)


@pytest.fixture(scope="module")
def table(drawn: Pictures) -> Table:
    return check_diagnostics(drawn, open_extractor("builtin"), 256, Trials(nulls=6, plants=2, partitions=2))


def test_every_bar_has_a_row_and_all_trials_are_counted(table: Table) -> None:
    counts = {row.plant: row.trials for row in table.rows}
    assert set(BARS) <= set(counts)
    assert (counts["nothing"], counts["JPEG 75"], counts["replay, noise"]) == (6, 2, 2)
    assert all(sum(row.states.values()) == row.trials for row in table.rows)


def test_gross_faults_are_found_in_few_trials_too(table: Table) -> None:
    rows = {row.plant: row for row in table.rows}
    for name in ("n/4 distinct, noise", "15% near-duplicates", "replay, noise", "replay, flip"):
        assert (name, rows[name].share) == (name, 1.0)
    assert rows["nothing"].states["healthy"] >= 5


def test_the_table_is_json_and_fits_a_terminal(
    table: Table, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert json.loads(json.dumps(table.to_dict(), allow_nan=False))["n"] == 256
    monkeypatch.setenv("COLUMNS", "80")
    show_selfcheck(table)
    told = capsys.readouterr().out
    assert "n/4 distinct, noise" in told
    assert max(map(len, told.splitlines())) <= 80


def test_too_few_pictures_are_refused(drawn: Pictures) -> None:
    with pytest.raises(DataError, match="'samples' has 1,200 pictures; checking n = 512 needs 2,304; give -n 266"):
        check_diagnostics(drawn, open_extractor("builtin"), 512, Trials())


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="no real pictures here")
@pytest.mark.parametrize("name", SETS)
def test_the_bars_are_met_on_real_pictures(name: str) -> None:
    source = open_source(f"zip:{DATA / name}")
    reals = pictures_of(cached_pack(source, PackSettings(64, 3, SETS[name])), source.name)
    found = check_diagnostics(reals, open_extractor("builtin"), 1024, Trials(nulls=40, plants=10, partitions=5))
    assert [row.plant for row in found.rows if not row.passed] == []
