"""What made-up studies say: differences where there are some, none where there are none."""

from __future__ import annotations

import dataclasses
import math

from gan_transfer.diagnostics.curves import Point
from gan_transfer.diagnostics.outcome import comparisons, conclusion, recommended, summarise


@dataclasses.dataclass(frozen=True)
class Made:
    """A run that nobody trained."""

    label: str
    seed: int
    points: tuple[Point, ...]
    collapsed: bool = False
    img_per_sec: float = 100.0
    memory_gb: float = 1.0


def made(label: str, seed: int, kids: list[float], collapsed: bool = False, recall: float = 0.5) -> Made:
    points = tuple(Point(10.0 * n, kid, 1.0, 0.5, recall, 0.6, 0.9, 0.01, "healthy") for n, kid in enumerate(kids))
    return Made(label, seed, points, collapsed)


STUDY = [
    *(made("scratch", seed, [900, 500, 300 + 10 * seed], recall=0.2) for seed in range(3)),
    *(made("finetune", seed, [320, 150, 100 + 5 * seed]) for seed in range(3)),
    *(made("freeze-d2", seed, [320, 160, 105 + 5 * (seed - 1) * (-1) ** seed]) for seed in range(3)),
]


def test_each_method_is_held_against_scratch_and_against_plain_fine_tuning() -> None:
    pairs = [(found.label, found.against) for found in comparisons(STUDY)]
    assert pairs == [("finetune", "scratch"), ("freeze-d2", "scratch"), ("freeze-d2", "finetune")]


def test_images_to_the_best_of_the_other_are_counted_for_each_seed() -> None:
    first = comparisons(STUDY)[0]
    assert (first.reached, first.others) == ((10.0, 10.0, 0.0), (20.0, 20.0, 20.0))
    assert first.images_share == 0.5
    late = comparisons([made("scratch", 0, [1, 9]), made("finetune", 0, [5, 1])])[0]
    assert (late.reached, late.images_share) == ((10.0,), math.inf)
    missed = comparisons([made("scratch", 0, [9, 1]), made("finetune", 0, [5, 3])])[0]
    assert (missed.reached, missed.images_share) == ((None,), math.inf)


def test_a_difference_is_told_with_its_interval_and_none_is_told_as_none() -> None:
    lines = conclusion(STUDY)
    assert "finetune against scratch (3 seeds): the last KID is 0.34 times [" in lines[0]
    assert "reached after 0 to 10, 50% of its images" in lines[0]
    assert "recall is +0.30 [+0.30, +0.30]" in lines[0]
    assert "no difference in the last KID" in lines[2]
    assert "coverage is no different" in lines[2]
    assert "Vendi ratio is no different" in lines[2]


def test_a_run_that_was_ahead_and_ends_alike_is_told_by_its_mean() -> None:
    plain = [made("finetune", seed, [320, 150, 100 + 5 * seed]) for seed in range(3)]
    sooner = [made("freeze-d2", seed, [100, 100, 100 + 5 * ((seed + 1) % 3)]) for seed in range(3)]
    (line, *_) = conclusion([*plain, *sooner])
    assert "no difference in the last KID" in line
    assert "the mean one over the run 0." in line


def test_many_comparisons_come_with_a_warning_of_chance() -> None:
    methods = [made(label, seed, [9, 5 + seed]) for label in ("scratch", "finetune", "a", "b") for seed in range(3)]
    assert "of 5 comparisons with 95 % intervals some show a difference by chance alone" in conclusion(methods)
    assert not any("by chance alone" in line for line in conclusion(STUDY))


def test_plain_fine_tuning_is_recommended_where_nothing_better_was_found() -> None:
    chosen, why = recommended(
        [*STUDY, *(made("lecam", seed, [320, 150, 99 + 6 * seed * (-1) ** seed]) for seed in range(3))]
    )
    assert chosen == "finetune"
    assert "no difference to plain fine-tuning" in why
    better = [*STUDY, *(made("lecam", seed, [320, 150, 50]) for seed in range(3))]
    assert recommended(better)[0] == "lecam"


def test_a_method_that_collapses_more_often_is_not_recommended() -> None:
    fallen = [*STUDY, *(made("lecam", seed, [320, 150, 50], collapsed=seed == 1) for seed in range(3))]
    assert recommended(fallen)[0] in ("finetune", "freeze-d2")
    assert {found.label: found.collapsed for found in summarise(fallen)}["lecam"] == 1


def test_few_seeds_are_called_few() -> None:
    one = [made("scratch", 0, [900, 300]), made("finetune", 0, [320, 100])]
    assert any("one seed tells little" in line for line in conclusion(one))
    assert not any("little" in line for line in conclusion(STUDY))
