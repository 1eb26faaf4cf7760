"""What the package shows from outside, and that looking at it is quick: no torch before it is needed."""

from __future__ import annotations

import json
import subprocess
import sys
import time

import pytest

import gan_transfer

HEAVY = ["torch", "torchvision", "timm", "numpy", "matplotlib", "safetensors", "huggingface_hub", "PIL"]
PUBLIC = [
    "Discriminator",
    "GanTransferError",
    "Generator",
    "Model",
    "Pair",
    "Recipe",
    "diagnose",
    "finetune",
    "load_pair",
    "load_recipe",
    "publish",
    "sample",
    "__version__",
]


def python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)


def loaded_by(statement: str) -> set[str]:
    """The heavy libraries that a fresh interpreter holds after a statement."""
    code = f"import json, sys\n{statement}\nprint(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    answer = python("-c", code)
    assert answer.stderr == ""
    return set(json.loads(answer.stdout.splitlines()[-1]))


def test_the_public_names_are_these_and_all_can_be_had() -> None:
    assert gan_transfer.__all__ == PUBLIC
    assert [name for name in PUBLIC if getattr(gan_transfer, name, None) is None] == []
    assert set(PUBLIC) <= set(dir(gan_transfer))


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'load_piar'"):
        _ = gan_transfer.load_piar


@pytest.mark.parametrize(
    "statement",
    [
        "import gan_transfer",
        "import gan_transfer.cli",
        "from gan_transfer import Recipe, load_recipe; load_recipe('finetune', 'coverart')",
    ],
)
def test_importing_loads_nothing_heavy(statement: str) -> None:
    assert loaded_by(statement) == set()


def test_help_lists_the_commands() -> None:
    answer = python("-m", "gan_transfer", "--help")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert [
        word
        for word in (
            "pretrain",
            "finetune",
            "sample",
            "import",
            "diagnose",
            "report",
            "watch",
            "doctor",
            "compare",
            "publish",
            "download",
            "models",
        )
        if word not in answer.stdout
    ] == []


@pytest.mark.parametrize(
    "command",
    [
        "pretrain",
        "finetune",
        "import",
        "export",
        "explore",
        "doctor",
        "compare",
        "sample",
        "diagnose",
        "selfcheck",
        "publish",
        "download",
        "models",
        "bench",
    ],
)
def test_a_commands_help_loads_nothing_heavy(command: str) -> None:
    program = f"sys.argv = ['gan-transfer', '{command}', '--help']\nfrom gan_transfer.cli import main"
    assert loaded_by(f"{program}\ntry: main()\nexcept SystemExit as end: assert not end.code") == set()


def test_version_prints_the_version_alone() -> None:
    answer = python("-m", "gan_transfer", "--version")
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, f"{gan_transfer.__version__}\n", "")


def test_help_answers_at_once() -> None:
    """Half a second is the aim; the limit leaves room for a busy machine."""
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        python("-m", "gan_transfer", "--help")
        seconds.append(time.perf_counter() - begin)
    assert min(seconds) < 1.5


def test_no_command_at_all_shows_the_help() -> None:
    answer = python("-m", "gan_transfer")
    assert "pretrain" in answer.stdout + answer.stderr
    assert "Traceback" not in answer.stderr
