"""Claims about `gan-transfer watch`: it follows a run, shows no other file, and answers this machine alone."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser_pages import both_widths
from conftest import TINY, Cli, sets
from test_report_page import look, write_run

from gan_transfer.report.watch import WatchServer, serving

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The books of a run."""
    return write_run(tmp_path / "00000-coverart-own")


@contextlib.contextmanager
def watched(run: Path) -> Iterator[WatchServer]:
    """A server at a free port, in a thread."""
    with serving(run, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def ask(server: WatchServer, path: str, host: str = "") -> tuple[int, bytes]:
    """Status and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    connection.request("GET", path, headers={"Host": host} if host else {})
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


@pytest.mark.browser
@both_widths
def test_the_page_follows_a_run(page: Page, run: Path) -> None:
    with watched(run) as server:
        page.goto(server.url)
        assert page.locator("h1").inner_text() == "warning"
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert page.locator("img.grid").evaluate("image => image.decode().then(() => image.naturalWidth)") == 34
        with open(run / "metric-panel.jsonl", "a") as file:
            file.write(json.dumps(look(21.0, verdict="healthy")) + "\n")
        page.get_by_role("heading", name="healthy").wait_for()


@pytest.mark.browser
def test_the_page_follows_a_run_that_really_trains(page: Page, tmp_path: Path) -> None:
    words = ["finetune", "--target", "coverart", "--from", "none", "--outdir", str(tmp_path)]
    settings = TINY | {"train.kimg": "20", "train.snapshot_kimg": "5", "train.tick_kimg": "1"}
    command = [sys.executable, "-m", "gan_transfer", *words, *sets(settings)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as training:
        deadline = time.monotonic() + 60
        while not (found := list(tmp_path.glob("*/stats.jsonl"))) and time.monotonic() < deadline:
            time.sleep(0.1)
        with watched(found[0].parent) as server:
            page.goto(server.url)
            first = page.locator("dd").first.inner_text()
            assert "not finished" in first
            page.get_by_text("20 of 20 kimg, finished").wait_for(timeout=90_000)
            grid = page.locator("img.grid")
            assert grid.get_attribute("alt") == "Samples at 20.0 kimg"
            assert grid.evaluate("image => image.decode().then(() => image.naturalWidth)") == 34
            page.goto("about:blank")  # which asks nothing of a server that is gone
        assert training.wait(30) == 0


def test_only_the_page_and_the_grids_are_served(run: Path) -> None:
    (run / "fakes000030.png").symlink_to(run / "recipe.json")
    with watched(run) as server:
        assert [ask(server, path)[0] for path in ("/", "/live", "/pictures/fakes000010.png")] == [200, 200, 200]
        others = ("/recipe.json", "/pictures/recipe.json", "/pictures/../recipe.json", "/pictures/fakes000030.png")
        assert [ask(server, path)[0] for path in others] == [404] * 4


def test_a_page_that_takes_another_name_for_this_machine_is_refused(run: Path) -> None:
    with watched(run) as server:
        assert ask(server, "/", host="evil.example")[0] == 403
        assert server.server_address[0] == "127.0.0.1"


def test_a_port_in_use_is_told_with_a_free_one(run: Path, cli: Cli) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = cli("watch", run, "--port", taken.getsockname()[1])
    assert (done.code, done.out, len(done.faults)) == (2, "", 1)
    assert "cannot be had (Address already in use). Next: --port " in done.faults[0]


@pytest.mark.parametrize("command", ["report", "watch"])
def test_a_folder_of_no_run_is_refused_in_a_line(command: str, cli: Cli, tmp_path: Path) -> None:
    done = cli(command, tmp_path)
    assert (done.code, len(done.faults)) == (2, 1)
    assert "is no run folder" in done.faults[0]
