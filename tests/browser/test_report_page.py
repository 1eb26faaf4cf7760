"""Claims about `report.html` as a reader meets it: in Chromium, from disk, in light and dark, on a desk and a phone."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser_pages import DARK, DESKTOP, PHONE, both_widths
from PIL import Image

from gan_transfer.report.page import write_report

if TYPE_CHECKING:
    from playwright.sync_api import Dialog, Page

pytestmark = pytest.mark.browser

HOSTILE = "\"'><img src=x onerror=alert(1)><script>alert(2)</script></script>"
CONTRAST = """() => {
  const channels = (color) => (color.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, place) => sum + c * [0.2126, 0.7152, 0.0722][place], 0);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const color = channels(getComputedStyle(node).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const node of document.querySelectorAll("main *, footer")) {
    if (![...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim())) continue;
    if (node.tagName === "title" || !node.getClientRects().length) continue;
    const style = getComputedStyle(node);
    const pair = [light(channels(node.closest("svg") ? style.fill : style.color)), light(ground(node))];
    const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    if (ratio < 4.5) poor.push(node.tagName + " " + node.textContent.slice(0, 30) + " " + ratio.toFixed(2));
  }
  return poor;
}"""


def look(kimg: float, **more: object) -> dict[str, object]:
    """A line of `metric-panel.jsonl`."""
    figures = {"kid_x1000": 90 - kimg, "kid_error": 3.0, "vendi_ratio": 0.8, "precision": 0.5, "copy_rate": 0.01}
    modes = {"fakes": [3, 20, 9], "reals": [30, 30, 30]}
    told = {"kimg": kimg, "verdict": "warning", "reason": "a few modes are missing", "extractor": "builtin"}
    return told | figures | {"modes": modes} | more


def write_run(folder: Path, ticks: int = 30, reason: str = "a few modes are missing", name: str = "coverart") -> Path:
    """The books of a run of 20 kimg, with three grids of one colour each."""
    folder.mkdir()
    tick = {"loss_d": 1.2, "loss_g": 0.8, "d_real": 0.6, "d_fake": 0.4, "eta_sec": 9, "img_per_sec": 100}
    with open(folder / "stats.jsonl", "w") as file:
        rest = json.dumps(tick)[1:]
        file.writelines(f'{{"kimg": {20 * (n + 1) / ticks}, {rest}\n' for n in range(ticks))
    lines = [look(kimg, reason=reason) for kimg in (0.0, 10.0, 20.0)]
    (folder / "metric-panel.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    recipe = {"name": name, "data": {"source": name}, "train": {"kimg": 20.0}}
    (folder / "recipe.json").write_text(json.dumps(recipe))
    (folder / "origin.json").write_text(json.dumps({"data.source": f"--data {name}", "train.kimg": "default"}))
    events = [{"event": "started", "time": 1.0, "torch": name}, {"event": "finished", "kimg": 20.0}]
    (folder / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))
    for label, color in (("_init", "red"), ("000010", "green"), ("000020", "blue")):
        Image.new("RGB", (34, 34), color).save(folder / f"fakes{label}.png")
    Image.new("RGB", (34, 34), "yellow").save(folder / "reals.png")
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The books of a run."""
    return write_run(tmp_path / "00000-coverart-own")


@both_widths
def test_the_report_opens_from_disk_without_a_complaint_and_is_not_wider_than_the_screen(page: Page, run: Path) -> None:
    page.goto(write_report(run).as_uri())
    assert page.locator("h1").inner_text() == "warning"
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@both_widths
def test_the_slider_changes_the_picture(page: Page, run: Path) -> None:
    page.goto(write_report(run).as_uri())
    slider, shown = page.get_by_role("slider", name="Training time"), page.locator(".stage img:visible")
    assert shown.get_attribute("alt") == "Samples of the same latents at 20 kimg"
    before = shown.get_attribute("src")
    slider.press("ArrowLeft")
    assert shown.get_attribute("alt") == "Samples of the same latents at 10 kimg"
    assert shown.get_attribute("src") != before
    assert page.locator("output").inner_text() == slider.get_attribute("aria-valuetext") == "10 kimg"
    assert shown.evaluate("image => image.decode().then(() => image.naturalWidth)") == 34


@pytest.mark.parametrize("page", [DESKTOP, DARK, PHONE], indirect=True, ids=["light", "dark", "phone"])
def test_all_text_has_the_contrast_of_wcag_aa(page: Page, run: Path) -> None:
    page.goto(write_report(run).as_uri())
    assert page.evaluate(CONTRAST) == []


@pytest.mark.parametrize("page", [DARK, DESKTOP], indirect=True, ids=["dark", "light"])
def test_on_paper_it_is_dark_on_white_and_no_wider_than_a_sheet_whatever_the_screen_shows(
    page: Page, tmp_path: Path
) -> None:
    page.goto(write_report(write_run(tmp_path / "run", reason="long" * 40)).as_uri())
    page.set_viewport_size({"width": 718, "height": 1050})  # A4 within Chromium's margins
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate(CONTRAST) == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    cut = "node => getComputedStyle(node).overflowX !== 'visible' && node.scrollWidth > node.clientWidth"
    assert page.evaluate(f"[...document.querySelectorAll('main *')].filter({cut}).map(node => node.className)") == []
    assert not page.get_by_role("slider").is_visible()
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_the_contrast_is_really_measured(page: Page) -> None:
    page.set_content("<main><p style='color:#999;background:#fff'>pale</p></main>")
    assert page.evaluate(CONTRAST) == ["P pale 2.85"]


def test_figures_are_read_back_from_a_logarithmic_axis(page: Page, run: Path) -> None:
    kids = {0.0: 2000.0, 10.0: 100.0, 20.0: 5.0}
    lines = [look(kimg, kid_x1000=kid, kid_error=0.1) for kimg, kid in kids.items()]
    (run / "metric-panel.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    page.goto(write_report(run).as_uri())
    figure = page.locator("figure", has=page.get_by_role("heading", name="KID"))
    figure.locator("svg.chart").press("ArrowRight")
    told = figure.locator(".readout").inner_text()
    assert told.startswith("at 20 kimg: KID x 1000 ")
    assert float(told.rsplit(" ", 1)[1]) == pytest.approx(5, rel=0.02)


def test_the_tab_key_reaches_slider_curves_and_commands_and_every_picture_is_described(page: Page, run: Path) -> None:
    page.goto(write_report(run).as_uri())
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.tagName + '.' + (document.activeElement.id || '')"))
    assert {"INPUT.time", "svg.", "CODE.", "A."} <= reached
    assert page.locator("img:not([alt]), img[alt='']").count() == 0


def test_the_arrow_keys_read_figures_from_a_curve(page: Page, run: Path) -> None:
    page.goto(write_report(run).as_uri())
    page.locator("svg.chart").first.press("ArrowRight")
    assert page.locator(".readout").first.inner_text() == "at 20 kimg: discriminator 1.2, generator 0.8"


def test_no_script_from_data_runs_and_the_policy_blocks_one_that_gets_in(
    page: Page, tmp_path: Path, complaints: list[str]
) -> None:
    ran: list[str] = []

    def dismiss(dialog: Dialog) -> None:
        ran.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", dismiss)
    written = write_report(write_run(tmp_path / "a'b\"c<b>&", reason=HOSTILE, name=HOSTILE))
    page.goto(written.as_uri())
    assert HOSTILE in page.locator(".reason").inner_text()
    assert (ran, complaints, page.locator("script").count()) == ([], [], 1)
    spoilt = written.with_name("spoilt.html")
    spoilt.write_text(written.read_text().replace("</main>", "<script>alert(3)</script><img src=x onerror=alert(4)>"))
    page.goto(spoilt.as_uri())
    assert ran == []
    assert any("Content Security Policy" in complaint for complaint in complaints)
    complaints.clear()


def test_a_half_written_run_from_a_newer_version_without_samples_is_shown(page: Page, tmp_path: Path) -> None:
    folder = tmp_path / "half"
    folder.mkdir()
    (folder / "stats.jsonl").write_text(
        '{"kimg": 1.0, "loss_d": null, "new": {"a": [1]}}\n[1]\n{"kimg": "x"}\n{"kimg": 2'
    )
    (folder / "metric-panel.jsonl").write_text('{"kimg": 1, "verdict": "splendid", "modes": 7, "nearest": [3]}\n')
    (folder / "recipe.json").write_text('{"train": 3, "wholly": {"new": {"section": true}}}')
    (folder / "blocks.json").write_text('[{"start": "x", "frozen": 2}, 4]')
    (folder / "fakes000001.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    page.goto(write_report(folder).as_uri())
    assert page.locator("h1").inner_text() == "splendid"
    assert "There are no sample grids yet." in page.locator("main").inner_text()


def test_a_million_ticks_make_a_small_page_in_seconds(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "long", ticks=1_000_000)
    begin = time.perf_counter()
    written = write_report(folder)
    assert time.perf_counter() - begin < 5
    assert written.stat().st_size < 2**20
    assert 900 < max(line.count(",") for line in written.read_text().split("<polyline")) < 1100


def test_a_hundred_grids_that_nothing_can_pack_stay_below_eight_megabytes(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "noisy")
    noise = Image.effect_noise((1042, 1042), 100).convert("RGB")  # 8 x 8 pictures of 128 pixels
    for kimg in range(0, 2000, 20):
        noise.rotate(kimg % 4 * 90).save(folder / f"fakes{kimg:06}.png", compress_level=0)
    for name in ("reals.png", "source_target.png"):
        noise.save(folder / name, compress_level=0)
    written = write_report(folder)
    assert written.stat().st_size < 8 * 10**6
    assert written.read_text().count("<img") > 20


def test_real_pictures_can_be_left_out(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run")
    assert "Real pictures that" in write_report(folder).read_text()
    assert "Real pictures that" not in write_report(folder, reals=False).read_text()
