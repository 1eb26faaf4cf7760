"""The house stands: a module imports only from lower floors, and no two modules import each other in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import gan_transfer

PACKAGE = Path(gan_transfer.__file__).parent
FLOORS = [
    {"errors", "resources", "explain", "config", "images", "files", "signals", "distributed", "text", "hub_errors"}
    | {"geometry", "conflicts", "devices", "tensor_files", "finding", "rerun", "symptoms"},
    {"recipe"},
    {"data", "models", "objectives", "diagnostics"},
    {"training", "transfer", "sampling", "run_folder"},
    {"hub", "report", "explorer"},
    {"planning", "auto_batch", "examine", "scaling", "roofline"},
    {
        "runs",
        "snapshots",
        "followers",
        "notebook",
        "importing",
        "monitor",
        "moved",
        "evidence",
        "policies",
        "fakes",
        "diagnosis",
        "run_history",
        "doctor",
        "environment",
        "walk",
        "trackers",
        "bench",
        "bench_data",
        "bench_profile",
        "selfcheck",
        "study",
        "studies",
        "study_runs",
        "measuring",
    },
    {"cli"},
    {"__main__"},
]
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
FORBIDDEN = {"training": {"transfer", "report", "diagnostics", "hub"}}  # the loop is handed hooks instead


def modules() -> dict[str, Path]:
    """All modules but the package itself, whose public names come from every floor: `models.dcgan` -> its file."""
    files = {path.relative_to(PACKAGE).with_suffix(""): path for path in sorted(PACKAGE.rglob("*.py"))}
    named = {".".join(name.parts).removesuffix(".__init__"): path for name, path in files.items()}
    return {name: path for name, path in named.items() if name != "__init__"}


def imported(name: str, path: Path, known: set[str]) -> Iterator[str]:
    """The modules of the package that a file imports, anywhere in it, relatively or absolutely."""
    package = ["gan_transfer", *name.split(".")][: None if path.name == "__init__.py" else -1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            found = [f"{stem}.{alias.name}" for alias in node.names]
        else:
            continue
        for target in (full.removeprefix("gan_transfer.") for full in found if full.startswith("gan_transfer.")):
            if nearest := next((part for part in (target, target.rpartition(".")[0]) if part in known), None):
                yield nearest


FILES = modules()
IMPORTS = {name: sorted(set(imported(name, path, set(FILES))) - {name}) for name, path in FILES.items()}


def place(name: str) -> tuple[int, str]:
    unit = name.partition(".")[0]
    return FLOOR[unit], unit


def test_every_module_stands_on_a_floor() -> None:
    assert {name.partition(".")[0] for name in FILES} - set(FLOOR) == set()


def test_modules_import_only_from_lower_floors() -> None:
    """Files of one folder may import each other, and so may single files of one floor."""

    def allowed(importer: str, target: str) -> bool:
        (above, unit), (below, other) = place(importer), place(target)
        both_files = not any((PACKAGE / part).is_dir() for part in (unit, other))
        return below < above or unit == other or (below == above and both_files)

    assert [f"{a} imports {b}" for a, targets in IMPORTS.items() for b in targets if not allowed(a, b)] == []


def test_the_training_loop_knows_nothing_of_transfer_reports_diagnostics_and_the_hub() -> None:
    broken = [
        (a, b) for a, targets in IMPORTS.items() for b in targets if place(b)[1] in FORBIDDEN.get(place(a)[1], ())
    ]
    assert broken == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    order = list(TopologicalSorter(IMPORTS).static_order())  # raises CycleError, which names the circle
    assert sorted(order) == sorted(FILES)


def test_the_imports_are_really_read() -> None:
    assert {"config", "errors", "resources"} <= set(IMPORTS["recipe"])
    assert {"training.step", "snapshots", "run_folder"} <= set(IMPORTS["runs"])
    assert {"planning", "notebook", "report.live"} <= set(IMPORTS["cli.train"])
