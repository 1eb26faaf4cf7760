"""The synthetic album covers: reproducible, varied, fairly shared out, and fast."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import pytest

from gan_transfer.data.cover_canvas import GLYPHS, oklch
from gan_transfer.data.cover_figures import WORDS
from gan_transfer.data.covers import FAMILIES, CoversSource, cover, family
from gan_transfer.errors import DataError


def test_the_same_seed_gives_the_same_bytes_in_any_order() -> None:
    forwards = [cover(index, seed=3, size=32).tobytes() for index in range(32)]
    backwards = [cover(index, seed=3, size=32).tobytes() for index in reversed(range(32))]
    assert forwards == backwards[::-1]


def test_another_seed_gives_other_pictures() -> None:
    assert all(cover(index, 0, 32).tobytes() != cover(index, 1, 32).tobytes() for index in range(32))


def test_every_cover_is_rgb_of_the_asked_size() -> None:
    seen = {(image.mode, image.size) for size in (16, 64, 100) for image in (cover(i, 0, size) for i in range(16))}
    assert seen == {("RGB", (16, 16)), ("RGB", (64, 64)), ("RGB", (100, 100))}


def test_the_design_does_not_depend_on_the_size() -> None:
    for index in range(64):
        small = np.asarray(cover(index, 0, 64).reduce(8), np.float32)
        large = np.asarray(cover(index, 0, 128).reduce(16), np.float32)
        assert np.abs(small - large).mean() < 6, family(index)


def test_every_family_has_its_fair_share_of_two_thousand() -> None:
    counts = Counter(family(index) for index in range(2000))
    expected = 2000 / len(FAMILIES)
    assert set(counts) == set(FAMILIES)
    assert sum((counts[name] - expected) ** 2 / expected for name in FAMILIES) < len(FAMILIES)


def test_there_are_at_least_a_dozen_families_and_their_order_is_shuffled() -> None:
    assert len(set(FAMILIES)) == len(FAMILIES) >= 12
    count = len(FAMILIES)
    assert [family(index) for index in range(count)] != [family(index + count) for index in range(count)]


def test_no_two_of_five_hundred_covers_are_nearly_equal() -> None:
    thumbnails = np.stack([np.asarray(cover(index, 0, 64).reduce(4), np.float32).ravel() for index in range(500)])
    products = thumbnails @ thumbnails.T
    squares = np.diag(products)
    distance = np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * products, 0) / thumbnails.shape[1])
    np.fill_diagonal(distance, np.inf)
    assert distance.min() > 8  # root mean square over colour values 0..255


def test_every_cover_has_visible_contrast() -> None:
    spread = [np.asarray(cover(index, 0, 64).reduce(2)).std((0, 1)).max() for index in range(500)]
    assert min(spread) > 15  # of the most varied channel, over 0..255


def test_a_family_is_nearer_to_itself_than_to_others() -> None:
    # Even a crude description (edge strength by direction and place) tells many of the families apart.
    features = np.stack([_texture(index) for index in range(640)])
    features = (features - features.mean(0)) / features.std(0)
    names = np.array([family(index) for index in range(640)])
    distance = ((features[:, None] - features[None]) ** 2).sum(-1)
    np.fill_diagonal(distance, np.inf)
    share = (names[distance.argmin(1)] == names).mean()
    assert share > 4 / len(FAMILIES)


def test_two_thousand_covers_at_64_pixels_take_seconds() -> None:
    start = time.process_time()
    for index in range(200):
        cover(index, 0, 64)
    assert time.process_time() - start < 2  # about 0.2 s; the bound leaves room for a slow machine


def test_the_source_tells_spec_name_length_and_labels() -> None:
    source = CoversSource()
    assert (source.spec, source.name, len(source)) == ("builtin:covers", "builtin-covers", 2000)
    assert CoversSource(count=50, seed=7).spec == "builtin:covers?count=50&seed=7"
    assert source.label(42) == f"0042-{family(42)}"
    assert CoversSource(seed=7).label(42) == f"0042-{family(42, 7)}"


def test_the_source_draws_at_the_hint_and_at_128_without_one() -> None:
    with_hint = CoversSource(seed=5).load(3, 64)
    assert with_hint.tobytes() == cover(3, 5, 64).tobytes()
    assert CoversSource(seed=5).load(3).size == (128, 128)


def test_the_fingerprint_changes_with_count_and_seed_only() -> None:
    pairs = itertools.product((100, 2000), (0, 1))
    assert len({CoversSource(count, seed).fingerprint() for count, seed in pairs}) == 4
    assert CoversSource().fingerprint() == CoversSource(2000, 0).fingerprint()


@pytest.mark.parametrize(("count", "seed"), [(0, 0), (-5, 0), (10, -1)])
def test_an_impossible_count_or_seed_is_a_data_error(count: int, seed: int) -> None:
    with pytest.raises(DataError, match=f"count={count}, seed={seed}"):
        CoversSource(count, seed)


def test_every_word_can_be_written_with_the_block_letters() -> None:
    assert set("".join(WORDS)) <= set(GLYPHS)


def test_oklch_reproduces_known_colours() -> None:
    assert [oklch(1, 0, 0), oklch(0, 0, 0)] == [(255, 255, 255), (0, 0, 0)]
    assert np.allclose(oklch(0.628, 0.2577, 29.23), (255, 0, 0), atol=2)
    assert np.allclose(oklch(0.452, 0.3132, 264.05), (0, 0, 255), atol=2)


def test_importing_the_covers_does_not_import_torch() -> None:
    code = "import sys, gan_transfer.data.covers; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _texture(index: int) -> np.ndarray:
    grey = np.asarray(cover(index, 0, 64).convert("L"), np.float32)
    edges = np.stack([np.abs(np.diff(grey, axis=0))[:, 1:], np.abs(np.diff(grey, axis=1))[1:]])[:, :60, :60]
    return np.sqrt(edges.reshape(2, 4, 15, 4, 15).mean((2, 4))).ravel()
