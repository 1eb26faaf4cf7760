"""A diagnosis: pictures of a generator, or of anybody's, against real ones: a verdict, scores, suspects, what to do."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from .data.cache import cache_dir
from .data.decode import find_crop
from .data.pack import Pack, PackSettings
from .data.source import Source
from .data.sources import open_source
from .diagnostics.diversity import class_histogram
from .diagnostics.extractors import Classifier, open_classifier, open_extractor
from .diagnostics.findings import Alike, Classes, Diagnosis
from .diagnostics.scores import CLASSIFIED, Measure, check_enough, inception, measure, parse_metrics
from .diagnostics.verdict import State, Verdict
from .errors import RecipeError, RunError, WeightsError
from .examine import MOST_REALS, Examiner, examiner, pictures_of
from .fakes import BATCH, Fakes, View, labels, oddities, of_generator, of_source, of_tensor, pack_of
from .models.dcgan import Generator
from .models.ema import recalibrate
from .models.snapshot import read_config
from .models.weights import Pair, save_pair
from .training import hardware
from .transfer.start import find, open_generator, open_pair

RESOLUTION = 64
"""Pixels at which a data source of fakes is judged."""

LISTED = 64
"""Copies, and repeats, that are told at most."""

DOUBTFUL = (State.PARTIAL, State.COLLAPSED, State.UNTRAINED)
"""Verdicts that wrong running statistics of batch norm may be behind."""

BETTER = 0.5
"""They are if the statistics of each batch give a better verdict and at most this share of the KID: a verdict at the
edge would flip by chance."""


RECALIBRATION = 100
"""Batches that batch-norm statistics are taken anew over, as before every snapshot of a run."""

NEXT = {
    State.PARTIAL: "take an earlier snapshot, or train anew from a pretrained pair or with a lower --dlr",
    State.MEMORISED: "train on more pictures, with --augment color,translation,cutout, or for fewer --kimg",
    State.UNTRAINED: "train longer, and see that --data and --crop are those of the training",
}
"""What to do after a verdict, before looking at the pictures."""


def diagnose(
    generated: str | Path | Generator | Tensor | Source, data: str | Source, *, extractor: str = "builtin",
    n: int = 1024, metrics: str = "", classifier: str | None = None, crop: str = "center",
    resolution: int | None = None, most: int = MOST_REALS, seed: int = 0, device: str = "auto",
    view: View | None = None,
) -> Diagnosis:  # fmt: skip
    """Judge pictures against real ones. (Each parameter is a setting by itself, hence their number.)

    Args:
        generated: `builtin`, a snapshot folder or a run folder; or a generator; or pictures, uint8 [N, C, H, H], in any
            order; or a data source of pictures.
        data: the real pictures: a data source, or its text, such as `folder:covers`.
        extractor: see `gan_transfer.diagnostics.extractors.EXTRACTORS`.
        n: fakes; all are judged where there are fewer.
        metrics: scores besides the verdict, such as `kid,recall`; see `gan_transfer.diagnostics.scores`.
        classifier: a file of weights, or `inception`; adds the Inception Score and the shares of the classes.
        crop: how the reals are cut: `center`, `celeba` or `none`.
        resolution: pixels at which a data source of fakes is judged, by default 64; others have their own.
        most: reals that are used, drawn at random.
        seed: of all draws.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        view: is told what happens.

    Raises:
        DataError: pictures cannot be had, or there are too few.
        WeightsError: a network cannot be had, or its pictures are not finite.
        RecipeError: there is no such setting.
    """
    begin, place = time.perf_counter(), hardware.choose(device, "float32").device
    asked = parse_metrics(f"{metrics},{','.join(CLASSIFIED)}" if classifier else metrics)
    eyes, critic = open_extractor(extractor, place), _critic(classifier, asked, place)
    subject, where = _subject(generated)
    cut = _cut(subject, crop, resolution)
    with _opened(data) as source:
        if isinstance(subject, Generator):
            fakes = of_generator(subject, where, n, seed, place)
        elif isinstance(subject, Tensor):
            fakes = of_tensor(subject, n, seed)
        else:
            fakes = of_source(subject, cut, n, seed, view)
        packed, count = pack_of(source, cut, view), len(fakes.pictures)
        reals, used = pictures_of(packed, source.origin), min(packed.count, most)
        check_enough(asked, count, used, eyes.name, eyes.dimension)
        if view:
            view.say(f"comparing {count:,} fakes with real pictures by the features of {eyes.name}")
        examined = examiner(reals, eyes, count, most=most, seed=seed, cache=cache_dir())
        look = examined.look(fakes.pictures)
        mend = _mending(where, source, crop)
        verdict = _second_look(look.verdict, examined, fakes, mend)
        shown = reals.load(examined.reals.rows[:count].tolist())
        copies, repeats = _alike(verdict, examined, fakes, labels(packed, source))
    measures = measure(asked, look.features, examined.reals.features, eyes.name, seed)
    more, classes = _classified(critic, asked, fakes.pictures, shown, seed)
    notes = (*fakes.notes, *verdict.notes, *oddities(fakes.pictures, "fakes"), *oddities(shown, "reals"))
    notes += _strange_data(where, packed)
    if verdict.fakes < count:
        notes += (f"of {count:,} fakes {verdict.fakes:,} were compared, as there are but {used:,} reals",)
    advice = mend if verdict.state is State.BATCH_NORM else _advice(verdict.state, fakes.look, where)
    return Diagnosis(
        verdict, fakes.name, reals.name, eyes.name, count, cut.resolution, cut.crop, seed, (*measures, *more), classes,
        copies, repeats, notes, advice, time.perf_counter() - begin,
    )  # fmt: skip


def recalibrated(network: str, folder: Path) -> Path:
    """Take the batch-norm statistics of a pair's generator anew, and write it as another snapshot.

    Args:
        network: as for `diagnose`.
        folder: where to; absent or empty.

    Raises:
        WeightsError: there is no such pair.
        RunError: the folder holds something or cannot be written.
    """
    pair = open_pair(network)
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise RunError(f"--recalibrate {folder}: wanted a new folder, this one is not empty; give another")
        recalibrate(pair.generator, BATCH, RECALIBRATION)
        save_pair(folder, Pair(pair.generator, pair.discriminator, pair.info | {"recalibrated": BATCH * RECALIBRATION}))
    except OSError as error:
        raise RunError(f"--recalibrate {folder}: cannot be written ({error.strerror or error}); give another") from None
    return folder


def _second_look(first: Verdict, examined: Examiner, fakes: Fakes, mend: str) -> Verdict:
    """Look again with the statistics of each batch, where wrong running statistics of batch norm may be the cause."""
    if fakes.on_batch_statistics is None or first.state not in DOUBTFUL:
        return first
    second = examined.look(fakes.on_batch_statistics()).verdict
    if second.state.exit_code >= first.state.exit_code or second.kid > BETTER * first.kid:
        return first
    reason = (
        f"{first.state} with the running statistics of batch norm (KID x 1000 {first.kid:.0f}), {second.state} with "
        f"those of each batch ({second.kid:.0f}). Take them anew: {mend}"
    )
    return dataclasses.replace(first, state=State.BATCH_NORM, reason=reason)


def _mending(where: str | None, source: Source, crop: str) -> str:
    """The command after a batch-norm mismatch."""
    if where is None:
        return "gan_transfer.models.ema.recalibrate"
    cropped = "" if crop == "center" else f" --crop {crop}"
    given = f"--network {shlex.quote(where)} --data {shlex.quote(source.spec)}{cropped}"
    return f"gan-transfer diagnose {given} --recalibrate mended"


def _advice(state: State, look: str, where: str | None) -> str:
    """What to do with a network, and how to see its pictures, or anybody's."""
    steps = [NEXT.get(State.PARTIAL if state is State.COLLAPSED else state, "") if where else "", look]
    return "; ".join(filter(None, steps))


def _alike(
    verdict: Verdict, examined: Examiner, fakes: Fakes, real: Callable[[int], str]
) -> tuple[tuple[Alike, ...], tuple[Alike, ...]]:
    """Copies and repeats, by name."""
    rows = examined.training_rows
    copies = [Alike(fakes.label(c.fake), real(int(rows[c.training])), c.mirrored) for c in verdict.copies[:LISTED]]
    repeats = [Alike(fakes.label(a), fakes.label(b)) for a, b in verdict.repeats.twins[:LISTED]]
    return tuple(copies), tuple(repeats)


def _classified(
    critic: Classifier | None, asked: tuple[str, ...], fakes: Tensor, reals: Tensor, seed: int
) -> tuple[list[Measure], Classes | None]:
    """What a classifier says of uint8 pictures."""
    if critic is None:
        return [], None
    logits = critic.logits(fakes), critic.logits(reals)
    classes = Classes(critic.name, class_histogram(logits[0]), class_histogram(logits[1]))
    scores = [inception(*logits, critic.name, seed)] if "is" in asked else []
    return scores, classes if "classes" in asked else None


def _critic(classifier: str | None, asked: tuple[str, ...], place: torch.device) -> Classifier | None:
    """The classifier, if one is needed: without a choice Inception, which the Inception Score has its name from."""
    if not set(asked) & set(CLASSIFIED):
        return None
    try:
        return open_classifier(classifier or "inception", place)
    except WeightsError as error:
        raise WeightsError(str(error) if classifier else f"{error}; or give --classifier FILE") from None


def _subject(generated: str | Path | Generator | Tensor | Source) -> tuple[Generator | Tensor | Source, str | None]:
    """What makes or holds the pictures, and where it was loaded from."""
    if isinstance(generated, (str, Path)):
        return open_generator(str(generated)), str(generated)
    return generated, None


def _cut(subject: Generator | Tensor | Source, crop: str, resolution: int | None) -> PackSettings:
    """How the reals are cut: to the size of the fakes."""
    find_crop(crop)  # a wrong name is told before the work
    if isinstance(subject, Generator):
        size, channels = int(subject.model.resolution), int(subject.model.channels)
    elif isinstance(subject, Tensor):
        size, channels = subject.shape[-1], subject.shape[1]
    else:
        return PackSettings(resolution or RESOLUTION, 3, crop)
    if resolution not in (None, size):
        raise RecipeError(f"--resolution {resolution} is for --fakes; this generator's pictures have {size} pixels")
    return PackSettings(size, channels, crop)


def _strange_data(where: str | None, packed: Pack) -> tuple[str, ...]:
    """A note if a network was trained on other pictures, as far as it says."""
    told = read_config(find(where)[0])[1].get("data") if where else None
    trained_on = told.get("pack") if isinstance(told, dict) else None
    if trained_on in (None, packed.key):
        return ()
    return (f"{where} was trained on other pictures, or on these cut otherwise: copies of its own may be overlooked",)


@contextlib.contextmanager
def _opened(data: str | Source) -> Iterator[Source]:
    """A source, fetched; closed at the end if it was opened here."""
    source = open_source(data) if isinstance(data, str) else data
    try:
        source.fetch()
        yield source
    finally:
        if isinstance(data, str):
            source.close()
