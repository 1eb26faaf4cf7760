"""Claims about the doctor's rules: which figures of a run are a fault, and what it advises."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gan_transfer import symptoms
from gan_transfer.finding import Level
from gan_transfer.rerun import Rerun
from gan_transfer.symptoms import Figures

TICK = {"img_per_sec": 200.0, "data_wait": 0.01, "d_real": 0.6, "d_fake": 0.4, "contrast": 0.95}
RUN = Figures(
    folder="runs/00000-coverart-x",
    rerun=Rerun(("gan-transfer", "finetune", "--target", "coverart"), {"--data": "folder:x"}),
    recipe={
        "train.kimg": 2.0, "optim.glr": 2e-4, "optim.dlr": 2e-4, "objective.loss": "non-saturating",
        "augment.operations": ["color", "translation", "cutout"], "data.source": "folder:x",
    },
    pictures=2000,
    ticks=[{"kimg": 0.1 * (n + 1), **TICK} for n in range(20)],
    looks=[{"kimg": 1.0, "verdict": "healthy", "kid_x1000": 20.0, "kid_error": 0.5}],
    events=[{"event": "started"}, {"event": "finished", "kimg": 2.0}],
)  # fmt: skip
"""A run without fault."""

UNFINISHED: dict[str, Any] = {"events": [{"event": "started"}]}


def found(**changes: Any) -> list[tuple[str, str]]:
    """Level and subject of what is told of the faultless run with some changes, all that is ok left out."""
    lines = symptoms.examine(dataclasses.replace(RUN, **changes))
    return [(str(line.level), line.what) for line in lines if line.level is not Level.OK]


def advised(**changes: Any) -> str:
    run = dataclasses.replace(RUN, **changes)
    return symptoms.next_command(run, symptoms.examine(run))


def ticks(**values: float) -> list[dict[str, float]]:
    """The run's ticks, the recent ones with other values."""
    return [{**tick, **(values if n >= 12 else {})} for n, tick in enumerate(RUN.ticks)]


def test_a_run_without_fault_is_told_to_be_finished_and_to_be_sampled() -> None:
    assert found() == []
    assert symptoms.examine(RUN)[0].told == "finished, 2 of 2 kimg"
    assert advised() == "gan-transfer sample --network runs/00000-coverart-x/best --seeds 0-63 --output out"


def test_a_run_that_a_living_process_trains_is_left_alone() -> None:
    assert found(**UNFINISHED, locked=True) == []
    assert advised(**UNFINISHED, locked=True) == "gan-transfer diagnose runs/00000-coverart-x"


def test_a_killed_run_is_resumed_by_the_same_command() -> None:
    assert found(**UNFINISHED) == [("warn", "state")]
    assert advised(**UNFINISHED) == "gan-transfer finetune --target coverart --data folder:x"


def test_an_interrupted_run_is_resumed_by_the_same_command() -> None:
    run = dataclasses.replace(RUN, events=[{"event": "started"}, {"event": "interrupted", "kimg": 1.0}])
    assert symptoms.state(run).told == "interrupted at 2 of 2 kimg; the same command resumes it"
    assert symptoms.state(run).todo == str(RUN.rerun)


def test_a_run_without_any_checkpoint_begins_again() -> None:
    assert "before its first checkpoint" in symptoms.state(dataclasses.replace(RUN, **UNFINISHED, checkpoints=0)).told


def test_a_loss_that_was_not_finite_asks_for_half_the_rates() -> None:
    events = [{"event": "started"}, {"event": "not finite", "message": "loss_g is not finite at 1.00 kimg"}]
    assert found(events=events) == [("fail", "state")]
    assert advised(events=events).endswith("--data folder:x --glr 0.0001 --dlr 0.0001 --new")


def test_a_run_that_its_alarm_stopped_is_rolled_back_without_a_new_folder() -> None:
    events = [{"event": "started"}, {"event": "collapsed", "kimg": 1.0, "verdict": "collapsed"}]
    assert found(events=events) == [("fail", "state")]
    assert advised(events=events).endswith("--data folder:x --on-collapse rollback")


def test_events_before_a_resumption_are_past() -> None:
    events = [{"event": "not finite", "message": "x"}, {"event": "resumed"}, {"event": "finished"}]
    assert found(events=events) == []


def test_a_damaged_checkpoint_costs_only_the_time_since_the_one_before() -> None:
    damaged = ["checkpoint-000000001000.safetensors is damaged (x)"]
    assert found(**UNFINISHED, damaged=damaged) == [("warn", "state"), ("warn", "checkpoints")]
    assert advised(**UNFINISHED, damaged=damaged) == str(RUN.rerun)


def test_without_any_whole_checkpoint_a_run_begins_anew() -> None:
    damaged = {"damaged": ["checkpoint-000000001000.safetensors is damaged (x)"], "checkpoints": 0}
    assert ("fail", "checkpoints") in found(**UNFINISHED, **damaged)
    assert advised(**UNFINISHED, **damaged).endswith("--data folder:x --new")
    assert found(**damaged) == [("warn", "checkpoints")]  # nobody resumes a finished one


def test_a_discriminator_that_is_never_wrong_is_ahead() -> None:
    won = ticks(d_real=0.97, d_fake=0.02)
    assert found(ticks=won) == [("warn", "balance")]
    assert advised(ticks=won).endswith("--dlr 0.0001 --new")
    bare = dict(RUN.recipe) | {"augment.operations": []}
    assert advised(ticks=won, recipe=bare).endswith("--augment color,translation,cutout --new")


def test_a_generator_whose_fakes_are_believed_is_ahead() -> None:
    assert found(ticks=ticks(d_fake=0.8)) == [("warn", "balance")]
    assert advised(ticks=ticks(d_fake=0.8)).endswith("--glr 0.0001 --new")


def test_relativistic_logits_have_no_level_to_be_ahead_by() -> None:
    recipe = dict(RUN.recipe) | {"objective.loss": "relativistic"}
    assert found(ticks=ticks(d_real=0.99, d_fake=0.01), recipe=recipe) == []


def test_a_few_ticks_are_no_trend() -> None:
    assert found(ticks=ticks(d_real=0.99, d_fake=0.01)[-7:]) == []


def test_the_runs_own_alarm_is_told() -> None:
    alarm = {"event": "collapse", "kimg": 1.0, "verdict": "partial collapse"}
    assert found(events=[*RUN.events[:1], alarm, *RUN.events[1:]]) == [("warn", "alarm")]
    assert "--on-collapse rollback" in advised(events=[*RUN.events[:1], alarm])
    assert advised(events=[alarm, {"event": "finished"}]).startswith("gan-transfer sample")


@pytest.mark.parametrize("word", ["collapsed", "partial collapse", "memorised", "batch-norm mismatch"])
def test_a_bad_verdict_of_the_newest_look_is_told(word: str) -> None:
    assert found(looks=[{"kimg": 1.0, "verdict": word, "kid_x1000": 20.0}]) == [("warn", "verdict")]


def test_an_untrained_generator_is_a_fault_only_at_the_end() -> None:
    look = [{"kimg": 1.0, "verdict": "untrained", "kid_x1000": 90.0}]
    assert found(looks=look) == [("warn", "verdict")]
    assert found(looks=look, **UNFINISHED, locked=True) == []


def test_a_kid_that_rose_since_its_best_is_told_and_the_best_is_sampled() -> None:
    looks = [{"kimg": k, "verdict": "healthy", "kid_x1000": v, "kid_error": 0.5} for k, v in ((1, 20.0), (2, 26.0))]
    assert found(looks=looks) == [("warn", "KID")]
    assert "--network runs/00000-coverart-x/best" in advised(looks=looks)


def test_a_kid_that_rose_within_its_errors_is_not_told() -> None:
    looks = [{"kimg": k, "verdict": "healthy", "kid_x1000": v, "kid_error": 2.0} for k, v in ((1, 20.0), (2, 26.0))]
    assert found(looks=looks) == []


@pytest.mark.parametrize(("value", "word"), [(0.8, "paler"), (1.25, "harsher")])
def test_fakes_of_another_contrast_are_told_unless_it_is_held(value: float, word: str) -> None:
    (told,) = [
        line.told
        for line in symptoms.examine(dataclasses.replace(RUN, ticks=ticks(contrast=value)))
        if line.what == "contrast"
    ]
    assert f"{word} than the reals: their contrast is {value:.2f} times" in told
    assert advised(ticks=ticks(contrast=value)).endswith("--set objective.moments=10 --new")
    assert found(ticks=ticks(contrast=value), recipe=dict(RUN.recipe) | {"objective.moments": 10.0}) == []
    assert found(ticks=[{k: v for k, v in tick.items() if k != "contrast"} for tick in RUN.ticks]) == []


def test_few_pictures_are_told_with_augmentation_where_there_is_none() -> None:
    assert found(pictures=100, **UNFINISHED)[-1] == ("warn", "pictures")
    narrowed = [dict(RUN.looks[0]) | {"verdict": "partial collapse"}]
    assert found(pictures=100, looks=narrowed)[-1] == ("warn", "pictures")
    bare = dict(RUN.recipe) | {"augment.operations": []}
    run = dataclasses.replace(RUN, pictures=100, looks=narrowed, recipe=bare)
    assert ["--augment" in line.todo for line in symptoms.examine(run) if line.what == "pictures"] == [True]


def test_few_pictures_that_were_enough_are_no_fault() -> None:
    assert found(pictures=100) == []
    assert advised(pictures=100).startswith("gan-transfer sample")


def test_waiting_for_pictures_is_told() -> None:
    assert found(ticks=ticks(data_wait=0.5)) == [("warn", "speed")]


def test_a_run_that_became_slow_is_told() -> None:
    assert found(ticks=ticks(img_per_sec=40.0)) == [("warn", "speed")]


def test_a_disk_without_room_for_the_next_checkpoint_is_a_failure() -> None:
    assert found(**UNFINISHED, locked=True, free_bytes=10, needed_bytes=100) == [("fail", "disk")]
    assert found(**UNFINISHED, locked=True, free_bytes=200, needed_bytes=100) == [("warn", "disk")]
    assert found(free_bytes=10, needed_bytes=100) == []  # nothing more is written


def test_the_gravest_finding_decides_the_next_command() -> None:
    events = [{"event": "started"}, {"event": "not finite", "message": "x"}]
    assert "--glr 0.0001" in advised(events=events, pictures=100)


def test_a_tick_with_nulls_or_of_another_version_does_no_harm() -> None:
    assert found(ticks=[*RUN.ticks, {"kimg": 2.1, "d_real": None}]) == []
