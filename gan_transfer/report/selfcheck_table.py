"""The table of `selfcheck diagnostics` for the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table


def show_selfcheck(found: Any) -> None:
    """Print the rows of one set: plant, trials, share of alarms or of the verdict asked for, and the bar."""
    console = Console(highlight=False)
    title = (
        f"{found.pictures}, n = {found.n}, extractor {found.extractor}: reals and a verdict in {found.seconds:.1f} s"
    )
    console.print(f"\n[bold]{title}[/]")
    table = Table("planted", "trials", "share", "bar", "", "verdicts", header_style="bold", box=None)
    for row in found.rows:
        states = ", ".join(f"{state} {count}" for state, count in row.states.items())
        severity = f" (told {row.severity:.0%})" if row.severity is not None else ""
        mark = "" if not row.bar and row.severity is None else "[green]met[/]" if row.passed else "[red]missed[/]"
        table.add_row(row.plant + severity, str(row.trials), f"{row.share:.2f}", row.bar, mark, states)
    console.print(table)
