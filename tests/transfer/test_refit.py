"""A discriminator for stacks or with the channel of deviation begins by saying what its source says."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from test_start import TINY, seeded, shaped, source_pair, started
from torch import Tensor

from gan_transfer.models.dcgan import Discriminator
from gan_transfer.transfer.start import _settle_spectral_norm, warm_start


def pictures(count: int, channels: int = 3) -> Tensor:
    return torch.rand(count, channels, 16, 16, generator=seeded(5)) * 2 - 1


def settle(discriminator: Discriminator) -> None:
    """Drawn weights have no direction that stands out, so their power iteration takes long."""
    for _ in range(40):
        _settle_spectral_norm(discriminator)
    discriminator.eval()


def begun(source: dict[str, object], target: dict[str, object]) -> tuple[Discriminator, Discriminator, dict[str, str]]:
    """The source's discriminator, the one that begins with it, and how its blocks began."""
    pair = source_pair(shaped(**source))
    settle(pair.discriminator)
    _, discriminator, rows = warm_start(pair, shaped(**target), seeded(1))
    settle(discriminator)
    return pair.discriminator.eval(), discriminator.eval(), started([row for row in rows if row.network == "D"])


@pytest.mark.parametrize("norm_d", ["batch", "none"])
def test_a_stack_of_equal_pictures_gets_the_logit_of_one(norm_d: str) -> None:
    alone, stacked, rows = begun({"norm_d": norm_d}, {"norm_d": norm_d, "stack": 3})
    shown = pictures(4)
    assert torch.allclose(stacked(shown.repeat_interleave(3, dim=0)), alone(shown), atol=1e-4)
    kept = {"d4": "kept", "d1": "kept"}
    assert rows == {"d8": "adapted: 1 -> 3 pictures in a stack", **kept}


def test_with_spectral_norm_the_first_layer_of_a_stack_says_the_same_but_louder() -> None:
    """It has norm 1 as a map of the whole stack, in which equal pictures are sqrt(3) times as long as one of them."""
    alone, stacked, _ = begun({"norm_d": "spectral"}, {"norm_d": "spectral", "stack": 3})
    shown, bias = pictures(4), alone.blocks["d8"].conv.bias
    assert isinstance(bias, Tensor)
    first, louder = alone.blocks["d8"].conv(shown), stacked.blocks["d8"].conv(shown.repeat(1, 3, 1, 1))
    expected = 3**0.5 * (first - bias[:, None, None]) + bias[:, None, None]
    assert torch.allclose(louder, expected, atol=1e-3)


def test_from_a_stack_to_single_pictures_and_to_another_stack() -> None:
    pair, single, rows = begun({"stack": 2}, {})
    shown = pictures(4)
    assert torch.allclose(single(shown), pair(shown.repeat_interleave(2, dim=0)), atol=1e-5)
    assert rows["d8"] == "adapted: 2 -> 1 pictures in a stack"
    pair, wider, _ = begun({"stack": 2}, {"stack": 4})
    assert torch.allclose(wider(shown.repeat_interleave(4, dim=0)), pair(shown.repeat_interleave(2, dim=0)), atol=1e-5)


def test_grey_pictures_in_a_stack_are_seen_as_colour_ones_were() -> None:
    """Three grey channels have the shape of one colour picture: they are not taken for one."""
    colour, grey, rows = begun({}, {"channels": 1, "stack": 3})
    shown = pictures(4, channels=1)
    seen = grey(shown.repeat_interleave(3, dim=0))
    assert torch.allclose(seen, colour(shown.expand(-1, 3, -1, -1)), atol=1e-5)
    assert rows["d8"] == "adapted: 3 -> 1 channels; 1 -> 3 pictures in a stack"


@pytest.mark.parametrize("norm_d", ["batch", "spectral", "none"])
def test_the_channel_of_deviation_begins_without_a_word(norm_d: str) -> None:
    plain, grouped, rows = begun({"norm_d": norm_d}, {"norm_d": norm_d, "minibatch_std": True})
    assert torch.allclose(grouped(pictures(8)), plain(pictures(8)), atol=1e-4)
    assert rows == {"d8": "kept", "d4": "kept", "d1": "adapted: channel of deviation with zeros"}


def test_the_channel_of_deviation_is_dropped_where_nobody_wants_it() -> None:
    grouped, plain, rows = begun({"minibatch_std": True}, {})
    assert rows["d1"] == "adapted: channel of deviation dropped"
    same = pictures(1).expand(4, -1, -1, -1)  # without deviation both say the same
    assert torch.allclose(plain(same), grouped(same), atol=1e-2)


def test_what_fits_is_kept_as_it_is() -> None:
    model = dataclasses.replace(TINY, stack=2, minibatch_std=True)
    pair = source_pair(model)
    _, discriminator, rows = warm_start(pair, model, seeded(1), "error")
    assert {row.start for row in rows} == {"kept"}
    assert torch.equal(discriminator.eval()(pictures(8)), pair.discriminator(pictures(8)))
