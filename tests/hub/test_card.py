"""The card of a pair: what the Hub reads of it, what people read of it, and that every command on it exists."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from published import DATA, METRICS, SHA, snapshot

from gan_transfer.errors import PublishError, WeightsError
from gan_transfer.hub import card
from gan_transfer.hub.publish import prepare
from gan_transfer.models.metrics import Metrics, Score, read_metrics, write_metrics

REPO = "tester/covers"
PARENT = {"pair": f"hf:some/photos@{SHA}", "kimg": 1500.0, "sha256": {}}
GRANDPARENT = {"pair": "builtin:dcgan64-tiny-imagenet", "kimg": 1500.096, "sha256": {}}


def card_of(folder: Path, **arguments: Any) -> ModelCard:
    return ModelCard(prepare(str(folder), REPO, **arguments).card)


def derived(source: dict[str, Any]) -> dict[str, Any]:
    return {"from": source}


def section(text: str, title: str) -> str:
    return text.partition(f"## {title}\n")[2].partition("\n## ")[0].strip()


def test_the_hub_is_told_library_task_data_base_and_licence(tmp_path: Path) -> None:
    data = card_of(snapshot(tmp_path, **derived(PARENT)), license="cc-by-4.0").data.to_dict()
    assert data == {
        "library_name": "gan-transfer",
        "pipeline_tag": "unconditional-image-generation",
        "license": "cc-by-4.0",
        "model_name": "covers",
        "tags": ["dcgan", "gan", "transfer-learning"],
        "datasets": ["some/covers"],
        "base_model": "some/photos",
        "base_model_relation": "finetune",
    }


def test_findings_are_results_that_name_their_extractor(tmp_path: Path) -> None:
    write_metrics(snapshot(tmp_path), METRICS)
    made = card_of(tmp_path)
    results = made.data.eval_results
    assert results is not None
    assert [(r.metric_type, r.metric_value, r.metric_name) for r in results] == [
        ("kid_x1000", 27.25, "kid_x1000 (extractor builtin, 512 samples)"),
        ("recall", 0.5, "recall (extractor builtin, 512 samples)"),
    ]
    assert results[0].metric_args == {"extractor": "builtin", "n": 512, "kimg": 12.5, "standard_error": 2.5}
    assert (results[0].task_type, results[0].dataset_type) == ("unconditional-image-generation", "some/covers")
    assert results[0].dataset_name == "some/covers"
    told = section(made.text, "Findings")
    assert told.startswith(
        "Collapse verdict at 12.5 kimg: **healthy**. 512 samples, features of the extractor `builtin`"
    )
    assert "| `kid_x1000` | 27.25 ± 2.5 |\n| `recall` | 0.5 |" in told


def test_a_pair_that_nobody_looked_at_is_not_diagnosed(tmp_path: Path) -> None:
    made = card_of(snapshot(tmp_path))
    assert made.data.eval_results is None
    assert section(made.text, "Findings").startswith("**Not diagnosed**")


def test_the_licence_is_open_where_none_is_named(tmp_path: Path) -> None:
    made = card_of(snapshot(tmp_path))
    assert (made.data.license, made.data.license_name) == ("other", "terms-of-the-training-pictures")
    assert "The publisher has named no licence for these weights." in section(made.text, "Training data and terms")


def test_the_whole_family_is_told_and_the_nearest_one_on_the_hub_is_the_base(tmp_path: Path) -> None:
    local = {"pair": "00003-imagenet-photos", "kimg": 20.0, "sha256": {}}
    made = card_of(snapshot(tmp_path, **derived(local | {"from": PARENT | {"from": GRANDPARENT}})))
    assert made.data.base_model == "some/photos"
    photos = f"[some/photos](https://huggingface.co/some/photos) at `{SHA[:12]}`"
    assert (
        f"| began with | `00003-imagenet-photos` of 20.0 kimg, which began with {photos} of 1500.0 kimg, which began "
        "with `builtin:dcgan64-tiny-imagenet` of 1500.096 kimg |"
    ) in made.text
    told = section(made.text, "Training data and terms")
    assert "* It began with `00003-imagenet-photos`, whose terms come along." in told
    assert "* It began with `builtin:dcgan64-tiny-imagenet`, whose terms come along: ImageNet's pictures may be" in told


@pytest.mark.parametrize(
    ("origin", "names", "told"),
    [
        ("hf:some/covers@0123abc:train", ["some/covers"], "What may be done with them, and with weights trained on"),
        ("pack:c (hf:some/covers@0123abc:train)", ["some/covers"], "its card says."),
        ("builtin:covers?count=64", None, "They are drawn by gan-transfer itself and show nobody's work."),
        ("folder:my covers", None, "`folder:my covers`. They are the publisher's to answer for"),
        ("zip:a|b`c.zip", None, "`zip:a/b'c.zip`"),
    ],
)
def test_the_pictures_and_their_terms_are_told(tmp_path: Path, origin: str, names: list[str] | None, told: str) -> None:
    made = card_of(snapshot(tmp_path, data=DATA | {"origin": origin}))
    assert made.data.to_dict().get("datasets") == names
    assert told in section(made.text, "Training data and terms")


def test_the_training_is_told_with_the_settings_that_matter(tmp_path: Path) -> None:
    told = section(card_of(snapshot(tmp_path)).text, "Training")
    assert "| length | 12.5 kimg: thousands of real pictures shown to the discriminator (25.0 epochs) |" in told
    assert "`coverart`: non-saturating loss, Adam 0.0002 (G) and 0.0002 (D), batch " in told
    assert "freeze d image 1 |" in told
    assert "| began with | random weights |" in told


def test_a_pair_without_books_has_a_card_too(tmp_path: Path) -> None:
    snapshot(tmp_path)
    settings = json.loads((tmp_path / "config.json").read_text())
    for key in ("kimg", "recipe", "data", "from"):
        del settings[key]
    (tmp_path / "config.json").write_text(json.dumps(settings))
    (tmp_path / "recipe.json").unlink()
    made = card_of(tmp_path, samples=False)
    assert "| pictures | `not told` |" in made.text
    assert "samples.png" not in made.text


def test_a_recipe_that_is_no_recipe_is_told(tmp_path: Path) -> None:
    for text in ("{", "[]", '{"name": "x"}', '{"name": "x", "objective": 3}'):
        (snapshot(tmp_path) / "recipe.json").write_text(text)
        with pytest.raises(
            PublishError, match=r"recipe.json is not the recipe of a run \(.*\). Remove it, or get the snapshot"
        ):
            prepare(str(tmp_path), REPO)


def test_the_three_lines_on_the_card_load_the_pair(tmp_path: Path) -> None:
    made = card_of(snapshot(tmp_path / "made"))
    (block,) = re.findall(r"```python\n(.*?)```", made.text, re.DOTALL)
    assert block.count("\n") == 3
    names: dict[str, Any] = {}
    exec(block.replace(f"hf:{REPO}", str(tmp_path / "made")), names)
    assert f"# uint8 {list(names['pictures'].shape)}" in block


def test_the_command_on_the_card_exists(tmp_path: Path) -> None:
    from test_readme import commands, parsed

    (line,) = commands(card_of(snapshot(tmp_path)).text)
    name, given = parsed(line.split()[1:])
    assert (name, given["source"]) == ("finetune", f"hf:{REPO}")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("---\nlicense: mit\n- x\n---\n", "its metadata cannot be read ("),
        ("---\n- a\n---\n", "its metadata cannot be read (repo card metadata block should be a dict)"),
        ("no metadata", "license None is none that the Hub knows"),
        ("---\nlicense: mit\nbase_model: photos\n---\n", "base_model 'photos' is no ORG/NAME"),
        (
            "---\nlicense: X Y\ndatasets:\n- a/b/c\n---\n",
            "license 'X Y' is none that the Hub knows; give one of",
        ),
        ("---\nlicense: mit\ndatasets:\n- a/b/c\n---\n", "datasets 'a/b/c' is no ORG/NAME"),
    ],
)
def test_a_card_is_checked_without_the_hub(text: str, fault: str) -> None:
    with pytest.raises(PublishError) as caught:
        card.check(text)
    assert str(caught.value).startswith(f"nothing was uploaded, because the card is not valid: {fault}")
    assert "\n" not in str(caught.value)


# The findings' file


def test_findings_come_back(tmp_path: Path) -> None:
    assert read_metrics(tmp_path) is None
    write_metrics(tmp_path, METRICS)
    assert read_metrics(tmp_path) == METRICS
    assert json.loads((tmp_path / "metrics.json").read_text()) == {
        "kimg": 12.5,
        "extractor": "builtin",
        "n": 512,
        "verdict": "healthy",
        "scores": {"kid_x1000": {"value": 27.25, "error": 2.5}, "recall": {"value": 0.5, "error": None}},
    }


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("{", "Invalid JSON"),
        ("[]", "Input should be"),
        ('{"kimg": 1, "extractor": "x", "n": 2, "verdict": "healthy"}', "scores: Field required"),
        ('{"kimg": 1, "extractor": "x", "n": 2, "verdict": "y", "scores": {"a": {"value": NaN}}}', "scores.a.value: "),
    ],
)
def test_findings_that_cannot_be_understood_are_told(tmp_path: Path, text: str, wrong: str) -> None:
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(WeightsError) as caught:
        read_metrics(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}/metrics.json does not hold the findings of a look ({wrong}")
    assert str(caught.value).endswith("). Remove it, or diagnose the pair again")


def test_scores_without_number_do_not_become_findings() -> None:
    assert Metrics(0.0, "x", 2, "untrained", {"a": Score(1.0)}).scores["a"].error is None
