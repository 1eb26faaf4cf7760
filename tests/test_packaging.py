"""Claims about the wheel: built from this tree and installed elsewhere, it finds its recipes and its pair."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from gan_transfer.resources import resource_dir

ROOT = Path(__file__).parents[1]
PAIR = resource_dir("pretrained") / "index.toml"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree, built without the network."""
    pytest.importorskip("build")
    pytest.importorskip("hatchling")
    out = tmp_path_factory.mktemp("dist")
    python("-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT), cwd=out)
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the wheel is installed in."""
    target = tmp_path_factory.mktemp("site")
    python("-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(wheel), cwd=target)
    return target


def python(*words: str, cwd: Path, path: Path | None = None) -> str:
    """Run Python in a folder, with another one first on its path; give back stdout."""
    environment = os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"} | ({"PYTHONPATH": str(path)} if path else {})
    done = subprocess.run(
        [sys.executable, *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_the_package_the_recipes_and_the_licence_and_nothing_of_the_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    recipes = {f"gan_transfer/_recipes/{path.parent.name}/{path.name}" for path in (ROOT / "recipes").glob("*/*.toml")}
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "gan_transfer").rglob("*.py")}
    assert (recipes | modules) - set(names) == set()
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"gan_transfer"}
    assert [name for name in names if name.endswith("licenses/LICENSE")] != []


@pytest.mark.skipif(not PAIR.is_file(), reason="no embedded pair")
def test_the_wheel_holds_the_embedded_pair_and_is_small(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"gan_transfer/_pretrained/{path.relative_to(PAIR.parent)}" for path in PAIR.parent.rglob("*.*")}
    assert wanted - names == set()
    assert wheel.stat().st_size < 18 * 10**6  # the pair 14.4 MB, the runtime of the explorer's page 2.3 MB


def test_installed_elsewhere_the_recipes_are_found(installed: Path, tmp_path: Path) -> None:
    assert python("-c", "import gan_transfer; print(gan_transfer.__file__)", cwd=tmp_path, path=installed) == (
        f"{installed}/gan_transfer/__init__.py\n"
    )
    listed = python("-m", "gan_transfer", "recipes", "ls", cwd=tmp_path, path=installed)
    names = [path.stem for path in (ROOT / "recipes").glob("*/*.toml")]
    assert [name for name in names if name not in listed] == []
    assert python("-m", "gan_transfer", "recipes", "check", "tiny", cwd=tmp_path, path=installed).endswith(": ok\n")


@pytest.mark.skipif(not PAIR.is_file(), reason="no embedded pair")
def test_installed_elsewhere_the_embedded_pair_is_sampled(installed: Path, tmp_path: Path) -> None:
    words = ["sample", "--network", "builtin", "--seeds", "0-3", "--output", "out"]
    assert python("-m", "gan_transfer", *words, cwd=tmp_path, path=installed) == "out/grid.png\n"
    assert len(list((tmp_path / "out").glob("seed*.png"))) == 4
