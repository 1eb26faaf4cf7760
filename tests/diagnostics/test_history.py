"""Claims about made-up histories of runs: which look was the best, and when a collapse is one."""

from __future__ import annotations

import dataclasses

import pytest

from gan_transfer.diagnostics.history import Alarm, Entry, alarm, best, sound, stalled
from gan_transfer.diagnostics.verdict import State

LETTERS = {
    "h": State.HEALTHY,
    "w": State.WARNING,
    "p": State.PARTIAL,
    "c": State.COLLAPSED,
    "m": State.MEMORISED,
    "u": State.UNTRAINED,
}


def run(text: str, error: float = 0.02, precision: float = 0.8) -> list[Entry]:
    """`u900 w300 c500` -> three looks, ten kimg apart, with errors of that share of their KID."""
    words = [(10.0 * n, LETTERS[word[0]], float(word[1:])) for n, word in enumerate(text.split())]
    return [Entry(kimg, state, kid, error * kid, precision) for kimg, state, kid in words]


def alarms(text: str, error: float = 0.02) -> list[float]:
    """At which KIDs a run gives the alarm."""
    looks = run(text, error)
    return [looks[n].kid for n in range(len(looks)) if alarm(looks[: n + 1])]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "u3691",
        "u3691 u3294 c1843 p1113 w887 w950 w800",  # fine-tuned on 5,000 faces
        "c1610 c1654 c1696 p1363 p1373 w1268 w1219",  # on 350 covers
        "c1610 c2358 c1939 p1853 p1770 p1564 p1514",  # with a frozen discriminator
        "u3063 u17158 u4469 c5020 c4279 c3010 p2304",  # from scratch, three times
        "m4884 u6268 u8631 c4026 c4547 p2872 p2171",
        "u2940 u5796 u6531 c3264 c4782 c2736 w1787",
        "u900 w300 w520 w560 w590",  # worse pictures, but no less diverse
        "u900 p300 p520 p290",  # one step aside
        "u900 w300 c350 w290 c350 w280",  # bad by a hair, now and then
        "u900 c300 c500 c290",  # a young one that jumps once
        "u900 u2000 u4000 u8000",  # never any better: nothing was lost
    ],
)
def test_a_run_that_gets_better_gives_no_alarm(text: str) -> None:
    assert alarms(text) == []


@pytest.mark.parametrize(
    ("text", "kid"),
    [
        ("u900 w300 h280 c450", 450),  # much worse at once
        ("u900 w300 h280 u2000", 2000),
        ("u900 w300 p320 c365 c370 c390", 370),  # worse for the second time
        ("u900 c300 c460 c470", 470),  # a young one, and it stays
        ("u900 w300 p400 p460 p480", 480),  # slowly, and not all is lost yet
        ("w300 c330 u500", 500),  # the pair that it began with was better
        ("u900 c700 m650 m600", 600),  # learnt by heart, though the KID falls
    ],
)
def test_a_collapse_gives_the_alarm_before_the_kid_has_doubled_again(text: str, kid: float) -> None:
    assert alarms(text)[0] == kid


def test_the_alarm_lasts_while_the_collapse_does_and_ends_with_it() -> None:
    assert alarms("u900 w300 c500 c600 w310 c500") == [500, 600, 500]


def test_pictures_that_only_seem_copied_before_anything_is_learnt_give_no_alarm() -> None:
    assert alarms("m1900 m1950 m2000 c700") == []
    looks = run("m2085 m2113 m2042 u1851", precision=0.0)
    assert [alarm(looks[: n + 1]) for n in range(len(looks))] == [None] * 4


def varied(text: str, vendi: str) -> list[Entry]:
    """The looks of `run`, with these Vendi scores."""
    return [dataclasses.replace(look, vendi=float(v)) for look, v in zip(run(text), vendi.split(), strict=True)]


def test_lost_variety_gives_the_alarm_where_the_verdict_overlooks_it() -> None:
    looks = varied("h106 h102 h98 h105 h125 h156", "41.8 42.7 41.7 39.5 36.5 32.8")  # 100 covers, not augmented
    assert [alarm(looks[: n + 1]) for n in range(5)] == [None] * 5
    found = alarm(looks)
    assert found is not None
    assert (found.best, found.state, found.state.exit_code) == (looks[2], State.PARTIAL, 20)
    assert str(found) == "partial collapse; KID is 1.6 times, Vendi score 0.79 times that at 20 kimg"


@pytest.mark.parametrize(
    ("text", "vendi"),
    [
        ("h150 h60 h50 h52", "40 38 36 25"),  # less varied, but no worse
        ("h150 h60 h50 h75", "40 38 36 33"),  # worse, but as varied
        ("h50 h75 h60", "60 40 38"),  # what it began with was another generator
        ("u900 u300 u450", "9 9 5"),  # never any good
    ],
)
def test_neither_loss_alone_gives_the_alarm(text: str, vendi: str) -> None:
    looks = varied(text, vendi)
    assert [alarm(looks[: n + 1]) for n in range(len(looks))] == [None] * len(looks)


def test_a_difference_within_the_errors_gives_no_alarm() -> None:
    assert alarms("w2.0 c3.2", error=0.3) == []
    assert alarms("w2.0 c3.2", error=0.02) == [3.2]


def test_the_alarm_tells_what_was_lost_in_words() -> None:
    assert str(alarm(run("u900 w300 c540"))) == "collapsed; KID is 1.8 times that at 10 kimg"
    assert str(alarm(run("u900 c700 m650 m600"))) == "memorised, for the second time"
    now, top = run("c40")[0], run("w0")[0]
    assert str(Alarm(now, top)) == f"collapsed; KID x 1000 is 40, that at {top.kimg:g} kimg was 0"


def test_the_best_look_is_the_fit_one_with_the_lowest_kid() -> None:
    looks = run("u100 c200 w400 m50 h350 p350 w360")
    assert best(looks) is looks[4]
    assert best(run("c200 m50")) is None
    young = run("u100 c50 u90")
    assert best(young) is young[2]


def test_a_look_is_sound_if_it_is_fit_and_about_as_good_as_the_best() -> None:
    looks = run("u900 w300 p350 w400 c310 w290")
    assert [sound(looks[: n + 1]) for n in range(len(looks))] == [False, True, True, False, False, True]


def test_patience_counts_the_looks_since_the_best_one_and_waits_for_the_first_fit_one() -> None:
    looks = run("u900 u950 c990 w300 w310 w305 w320")
    assert [stalled(looks[: n + 1], 2) for n in range(len(looks))] == [False, False, False, False, False, True, True]
    improving = run("w60 w70 w68 w65")  # the first look is from before training
    assert not any(stalled(improving[: n + 1], 2) for n in range(len(improving)))
