"""Claims about the command line as a whole: completion, colours, exit codes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gan_transfer import errors
from gan_transfer.diagnostics.verdict import State
from gan_transfer.finding import Level

ROOT = Path(__file__).parents[1]
PROGRAM = "from gan_transfer.cli import main; main()"


def run(*words: str, program: str = PROGRAM, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, under its own name."""
    code = f"import sys; sys.argv[0] = 'gan-transfer'\n{program}"
    command = [sys.executable, "-c", code, *words]
    kept = {name: value for name, value in os.environ.items() if name != "_TYPER_FORCE_DISABLE_TERMINAL"}
    return subprocess.run(command, capture_output=True, text=True, env=kept | environment, check=False)


def completed(line: str, cwd: Path) -> list[str]:
    """What bash is told for a line that ends at the cursor."""
    count = len(line.split()) - (0 if line.endswith(" ") else 1)
    words = {"COMP_WORDS": line, "COMP_CWORD": str(count), "_GAN_TRANSFER_COMPLETE": "complete_bash"}
    return run(program=f"import os; os.chdir({str(cwd)!r})\n{PROGRAM}", **words).stdout.split()


def test_the_shell_completes_recipes_that_fit_the_command_and_files(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").touch()
    assert completed("gan-transfer finetune --target c", tmp_path) == ["celeba", "cifar10", "coverart"]
    assert completed("gan-transfer pretrain ", tmp_path) == ["imagenet", "mine.toml"]
    assert completed("gan-transfer recipes show m", tmp_path) == ["mnist", "mine.toml"]
    assert completed("gan-transfer data i", tmp_path) == ["inspect"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("finetune --lr-mult d3", ["d32="]),
        ("finetune --method freeze-d2+lec", ["freeze-d2+lecam"]),
        ("compare --methods scratch,freeze-g", ["scratch,freeze-g1", "scratch,freeze-g2"]),
        ("compare --target co", ["coverart"]),
        ("finetune --augment color,c", ["color,cutout"]),
        ("pretrain --on-collapse r", ["rollback"]),
        ("pretrain --precision b", ["bfloat16"]),
        ("finetune --train-only b", ["bn-affine"]),
        ("finetune --on-mismatch s", ["skip"]),
    ],
)
def test_the_shell_completes_methods_blocks_and_the_words_of_settings(
    line: str, words: list[str], tmp_path: Path
) -> None:
    assert completed(f"gan-transfer {line}", tmp_path) == words


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_completion_can_be_installed_in_bash(tmp_path: Path) -> None:
    named = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}  # it asks which program called it, here none or any
    done = run("--install-completion", "bash", HOME=str(tmp_path), **named)
    assert done.returncode == 0, done.stderr
    script = tmp_path / ".bash_completions" / "gan-transfer.sh"
    assert str(script) in (tmp_path / ".bashrc").read_text()
    loaded = subprocess.run(
        ["bash", "-c", f"source {script}; complete -p gan-transfer"], capture_output=True, text=True, check=False
    )
    assert "_gan_transfer_completion" in loaded.stdout


def test_no_color_takes_the_colours_away() -> None:
    coloured = re.compile(r"\x1b\[[0-9;]*3[0-7]m")
    assert coloured.search(run("--help", FORCE_COLOR="1").stdout)
    assert not coloured.search(run("--help", FORCE_COLOR="1", NO_COLOR="1").stdout)


def test_no_words_at_all_show_the_help_and_end_with_2() -> None:
    done = run()
    assert (done.returncode, done.stderr) == (2, "")
    assert "finetune" in done.stdout


def test_the_readme_lists_every_exit_code() -> None:
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("| code | after |")[2].partition("\n\n")[0]
    told = {int(code) for row in table.splitlines()[2:] for code in re.findall(r"\d+", row.split("|")[1])}
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    fixed = {kind.exit_code for kind in classes}
    assert fixed == {1, 2}
    assert told == {
        *fixed,
        0,
        141,
        130,
        143,
        *(state.exit_code for state in State),
        *(level.exit_code for level in Level),
    }
