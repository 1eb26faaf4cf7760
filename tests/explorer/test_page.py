"""Claims about the explorer's page in Chromium: PyTorch's pictures, sliders, favourites, keyboard, odd names."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from browser_pages import DARK, DESKTOP, PHONE, both_widths
from PIL import Image
from torch import Tensor

from gan_transfer.explorer.folder import write_folder
from gan_transfer.explorer.serve import server
from gan_transfer.geometry import Layer
from gan_transfer.models.dcgan import Discriminator, Generator, initialise
from gan_transfer.models.ema import recalibrate
from gan_transfer.models.weights import Pair
from gan_transfer.recipe import Model
from gan_transfer.sampling import generate, latents, sample, spherical_path

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser
pytest.importorskip("onnx")

TINY = Model(resolution=16, base_channels=4, latent_dim=8)
SHAPES = {
    "colour": TINY,
    "grey": Model(resolution=16, base_channels=4, latent_dim=8, channels=1),
    "28 pixels": Model(resolution=28, base_channels=4, latent_dim=7, channels=1),
    "imported": Model(
        resolution=28, channels=1, latent_dim=8, bias=True,
        layers_g=(Layer(8, 4, 1, 0), Layer(8, 3, 2, 1), Layer(4, 4, 2, 1), Layer(1, 4, 2, 1)),
        layers_d=(Layer(8, 4, 2, 1), Layer(8, 4, 2, 1), Layer(1, 7, 1, 0)),
    ),
}  # fmt: skip


def lively(model: Model, origin: str = "pair") -> Pair:
    """A pair whose pictures fill the range."""
    generator = Generator(model)
    initialise(generator, torch.Generator().manual_seed(0))
    recalibrate(generator, batch=16, batches=2)
    last = list(generator.blocks.values())[-1].conv.weight
    assert isinstance(last, Tensor)
    last.data.mul_(1 / (0.02 * (last.shape[0] * 4) ** 0.5))
    return Pair(generator.eval(), Discriminator(model).eval(), {"kimg": 1.5}, origin)


@pytest.fixture(scope="module")
def pair() -> Pair:
    return lively(TINY)


@pytest.fixture(scope="module")
def folder(pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("explorer")
    write_folder(made, pair)
    return made


@pytest.fixture
def show(page: Page) -> Iterator[object]:
    """Open a folder's page, ready to be used."""
    running = []

    def opened(folder: Path) -> Page:
        serving = server(folder, 0)
        running.append(serving)
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        page.goto(serving.url)
        page.wait_for_selector("main:not([inert])")
        return page

    yield opened
    for serving in running:
        serving.shutdown()
        serving.server_close()


@pytest.fixture
def ready(show: object, folder: Path) -> Page:
    """The page of `folder`."""
    assert callable(show)
    shown: Page = show(folder)
    return shown


def picture(page: Page, caption: str, selector: str = "#picture") -> Tensor:
    """What a canvas shows, uint8 [3, H, W], once its label has the words."""
    page.wait_for_selector(f'#picture[aria-label="Generated picture: {caption}"]')
    code = "c => [c.width, c.height, ...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]"
    width, height, *values = page.eval_on_selector(selector, code)
    return torch.tensor(values, dtype=torch.uint8).view(height, width, 4)[:, :, :3].permute(2, 0, 1)


def off(shown: Tensor, wanted: Tensor) -> int:
    """The largest difference of two pictures, steps of 256; grey counts as colour."""
    return int((shown.int() - wanted.expand(3, -1, -1).int()).abs().max())


def seed(page: Page, number: int, box: str = "#from") -> None:
    page.fill(box, str(number))
    page.press(box, "Enter")


def set_slider(page: Page, selector: str, value: float) -> None:
    code = "(s, v) => { s.value = v; s.dispatchEvent(new Event('input')); s.dispatchEvent(new Event('change')); }"
    page.eval_on_selector(selector, f"s => ({code})(s, {value})")


@both_widths
def test_a_seed_shows_pytorchs_picture(ready: Page, pair: Pair) -> None:
    for number in (0, 3, 2**32 - 1):
        seed(ready, number)
        assert off(picture(ready, f"seed {number}"), sample(pair.generator, [number])[0]) <= 2


@pytest.mark.parametrize("shape", ["grey", "28 pixels", "imported"])
def test_pairs_of_other_shapes_show_pytorchs_pictures(show: object, shape: str, tmp_path: Path) -> None:
    other = lively(SHAPES[shape])
    write_folder(tmp_path / "explorer", other)
    assert callable(show)
    assert off(picture(show(tmp_path / "explorer"), "seed 0"), sample(other.generator, [0])[0]) <= 2


def test_latents_of_the_page_are_those_of_sample_to_the_bit(ready: Page) -> None:
    for number in (0, 1, 12345, 2**31, 2**32 - 1):
        code = f"async () => Array.from((await import('./random.mjs')).latent({number}, 101))"
        assert torch.equal(torch.tensor(ready.evaluate(code)), latents([number], 101)[0])


def test_the_way_between_two_seeds_is_that_of_sample(ready: Page, pair: Pair) -> None:
    seed(ready, 5)
    seed(ready, 6, "#to")
    set_slider(ready, "#at", 0.4)
    path = spherical_path(latents([5, 6], 8), steps=5, loop=False)
    shown = picture(ready, "40 % from seed 5 to 6")
    assert off(shown, generate(pair.generator, path[2:3])[0]) <= 2


@both_widths
def test_every_slider_changes_the_picture_and_reset_brings_it_back(ready: Page) -> None:
    before = picture(ready, "seed 0")
    for k in range(8):
        set_slider(ready, f"#move{k}", 4)
        assert off(picture(ready, f"seed 0, direction {k + 1} at 4.0"), before) > 2
        ready.click("#reset")
        assert off(picture(ready, "seed 0"), before) == 0


def test_a_picture_is_saved_as_png_under_the_name_that_sample_gives(ready: Page, pair: Pair) -> None:
    seed(ready, 7)
    picture(ready, "seed 7")
    with ready.expect_download() as waiting:
        ready.click("#save")
    assert waiting.value.suggested_filename == "seed0007.png"
    with Image.open(waiting.value.path()) as kept:
        saved = torch.from_numpy(np.array(kept.convert("RGB"))).permute(2, 0, 1)
    assert off(saved, sample(pair.generator, [7])[0]) <= 2


def test_favourites_stay_over_a_reload_come_back_and_go(ready: Page) -> None:
    set_slider(ready, "#move1", -3)
    picture(ready, "seed 0, direction 2 at -3.0")
    ready.click("#keep")
    seed(ready, 9)
    ready.click("#keep")
    ready.wait_for_selector("#favourites li:nth-child(2)")
    ready.reload()
    ready.click("#favourites li:nth-child(1) .show")
    picture(ready, "seed 0, direction 2 at -3.0")
    with ready.expect_download() as waiting:
        ready.click("#sheet")
    with Image.open(waiting.value.path()) as kept:
        assert kept.size == (34, 16)
    ready.click("#favourites li:nth-child(1) .remove")
    ready.wait_for_selector("#favourites li:nth-child(2)", state="detached")
    ready.click("#clear")
    assert ready.is_visible("#empty")
    assert ready.is_disabled("#sheet")


def test_what_stands_in_the_storage_and_is_no_view_is_ignored(ready: Page) -> None:
    key = ready.evaluate("fetch('explorer.json').then(a => a.json()).then(a => `gan-transfer explorer ${a.sha256}`)")
    for text in ('"no list"', "{", '[null, 3, {"from": -1}, {"from": 0, "to": 1, "at": 0, "moves": ["x"]}]'):
        ready.evaluate("([key, text]) => localStorage.setItem(key, text)", [key, text])
        ready.reload()
        picture(ready, "seed 0")
        assert ready.locator("#favourites li").count() == 0


def test_a_seed_that_is_none_changes_nothing(ready: Page) -> None:
    for wrong in ("-1", "1.5", "4294967296", ""):
        seed(ready, 4)
        seed(ready, wrong)  # type: ignore[arg-type]
        picture(ready, "seed 4")
        assert ready.input_value("#from") == "4"


def test_play_walks_and_stops(ready: Page) -> None:
    ready.click("#play")
    ready.wait_for_selector('#picture[aria-label*=" % from seed 0 to 1"]')
    ready.click("#play")
    assert ready.get_attribute("#play", "aria-pressed") == "false"


@both_widths
def test_all_can_be_reached_and_moved_by_keyboard_and_nothing_is_wider_than_the_screen(ready: Page) -> None:
    picture(ready, "seed 0")
    reached = set()
    for _ in range(40):
        ready.keyboard.press("Tab")
        reached.add(ready.evaluate("document.activeElement.id"))
    controls = {"random", "keep", "save", "from", "to", "at", "play", "reset", *(f"move{k}" for k in range(8))}
    assert controls - reached == set()
    ready.focus("#move0")
    ready.keyboard.press("ArrowRight")
    picture(ready, "seed 0, direction 1 at 0.1")
    assert ready.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_every_control_and_every_picture_has_a_name(ready: Page) -> None:
    ready.click("#keep")
    ready.wait_for_selector("#favourites li")
    nameless = """() => [...document.querySelectorAll('button, input, canvas')].filter(e =>
        !e.ariaLabel && !e.textContent.trim() && !e.labels?.length && !e.closest('[aria-hidden], .show'))
        .map(e => e.outerHTML)"""
    assert ready.evaluate(nameless) == []


CONTRASTS = """() => {
  const part = (v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = (c) => [0.2126, 0.7152, 0.0722].reduce((s, w, i) => s + w * part(c[i]), 0);
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const behind = (e) => { const c = rgb(getComputedStyle(e).backgroundColor);
    return c[3] === 0 && e.parentElement ? behind(e.parentElement) : c; };
  return [...document.querySelectorAll('h1, h2, p, label, output, a, button:not(:disabled), [type=number], code')]
    .filter((e) => e.checkVisibility()).map((e) => {
      const [a, b] = [rgb(getComputedStyle(e).color), behind(e)].map(light).sort((x, y) => y - x);
      return [(a + 0.05) / (b + 0.05), e.outerHTML.slice(0, 60)]; })
    .filter(([ratio]) => ratio < 4.5);
}"""


@pytest.mark.parametrize("page", [DESKTOP, PHONE, DARK], indirect=True, ids=["light", "phone", "dark"])
def test_words_stand_out_by_4_5_to_1(ready: Page) -> None:
    assert ready.evaluate(CONTRASTS) == []


def test_a_name_that_is_html_is_shown_as_it_is(show: object, tmp_path: Path) -> None:
    name = '<img src=x onerror="alert(1)">\'&'
    write_folder(tmp_path / "explorer", lively(TINY, name))
    assert callable(show)
    page: Page = show(tmp_path / "explorer")
    assert name in page.inner_text("#facts")
    assert page.locator("img").count() == 0


def test_a_folder_without_its_generator_says_so(page: Page, complaints: list[str], pair: Pair, tmp_path: Path) -> None:
    write_folder(tmp_path / "explorer", pair)
    (tmp_path / "explorer" / "generator.onnx").unlink()
    with server(tmp_path / "explorer", 0) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        page.goto(serving.url)
        page.wait_for_selector("#status.fault")
        assert "The generator does not run here" in page.inner_text("#status")
        serving.shutdown()
    assert [line for line in complaints if "404" not in line] == []
    complaints.clear()
