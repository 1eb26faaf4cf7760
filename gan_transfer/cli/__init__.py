"""The command line. Importing it must stay light: torch is imported inside commands."""

from __future__ import annotations

import os
import shlex
import sys
from typing import Annotated, Any

import typer
from rich.console import Console

from .. import __version__
from ..errors import GanTransferError, Interrupted
from . import bench, data, models, recipes, selfcheck
from .compare import compare
from .diagnose import diagnose
from .doctor import doctor
from .export import explore, export
from .hub import download, publish
from .imports import import_files
from .report import report, watch
from .sample import sample
from .train import finetune, pretrain

USAGE_ERROR: Any = typer.BadParameter.__mro__[1]  # click's UsageError, which Typer ships under a private name

app = typer.Typer(
    name="gan-transfer",
    help="Transfer learning for DCGANs: pretrain a pair on varied photos, fine-tune it on your pictures, sample it.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("pretrain")(pretrain)
app.command("finetune")(finetune)
app.command("sample")(sample)
app.command("explore")(explore)
app.command("export")(export)
app.command("diagnose")(diagnose)
app.command("report")(report)
app.command("watch")(watch)
app.command("doctor")(doctor)
app.command("compare")(compare)
app.command("publish")(publish)
app.command("import")(import_files)
app.command("download")(download)

app.add_typer(data.app, name="data")
app.add_typer(models.app, name="models")
app.add_typer(recipes.app, name="recipes")
app.add_typer(bench.app, name="bench")
app.add_typer(selfcheck.app, name="selfcheck")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def options_of_all(
    version: Annotated[  # a callback of its own, since the function runs only when a command follows
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Transfer learning for DCGANs: pretrain a pair on varied photos, fine-tune it on your pictures, sample it."""


def main() -> None:
    """Run the command line; errors that a user can mend end in one line on stderr and their exit code."""
    try:
        sys.exit(app(standalone_mode=False))
    except USAGE_ERROR as error:
        if (
            message := error.format_message()
        ) and _speaks():  # empty where a command without words has printed its help
            context = error.ctx.command_path if error.ctx else "gan-transfer"
            _complain(f"{message.rstrip('.')}. See: {context} --help")
        sys.exit(2)
    except GanTransferError as error:
        if _speaks():
            _tell(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        if _speaks():
            _complain("stopped")
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output, such as `head`, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)


def _tell(error: GanTransferError) -> None:
    """What went wrong; of a run that was stopped also how it goes on."""
    if not isinstance(error, Interrupted):
        _complain(str(error))
        return
    _complain(f"{error}. Resume with:")
    words = shlex.join(word for word in sys.argv[1:] if word != "--new")
    alone = os.environ.get("WORLD_SIZE", "1") == "1"
    print(f"gan-transfer {words}" if alone else f"torchrun (as before) -m gan_transfer {words}", file=sys.stderr)


def _speaks() -> bool:
    """Whether this process tells of the error: of several that torchrun has started, one does."""
    if os.environ.get("WORLD_SIZE", "1") == "1":
        return True
    from ..distributed import speaks

    return speaks()


def _complain(text: str) -> None:
    """`error:` and one line per fault; plain text, so that brackets in paths stay brackets."""
    console = Console(stderr=True, soft_wrap=True, highlight=False)
    for line in text.splitlines():
        console.print("[bold red]error:[/] ", end="")
        console.print(line, markup=False)
