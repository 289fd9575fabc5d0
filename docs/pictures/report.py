"""Makes `report.png` and `heatmaps.png`: a run on drawn parts, its report and what it marked.

python docs/pictures/report.py

The parts are drawn here, so that no data set lies in the repository: turned discs, some of them
scratched. All else is real: `moekit` is called as a user calls it, and Chromium takes the picture
of the page. It takes some minutes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

HERE = Path(__file__).parent
SIDE, DRAWN_AT = 256, 768
COUNTS = {"good": 150, "scratched": 100}
PAGE = (1180, 1120)
SHOWN, TILE, GAP = 5, 200, 8
RUN, SCORED = "runs/parts", "scored"
BROWSERS = ("chromium", "google-chrome")


def disc(generator: np.random.Generator) -> Image.Image:
    """A turned disc of grey metal with a bore, of its own size, place, light and grain."""
    ys, xs = np.mgrid[:DRAWN_AT, :DRAWN_AT] / DRAWN_AT - 0.5
    x, y = xs - generator.normal(0, 0.02), ys - generator.normal(0, 0.02)
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    outer, bore = generator.uniform(0.36, 0.42), generator.uniform(0.09, 0.12)
    rings = generator.normal(0, 5, 800)[(radius * 560).astype(int)]
    shine = 22 * np.cos(2 * (angle - generator.uniform(0, np.pi)))
    metal = generator.uniform(135, 165) + shine + rings + generator.normal(0, 4, x.shape)
    metal -= 90 * np.exp(-(((radius - outer) / 0.008) ** 2))
    plate = generator.uniform(38, 58) + generator.normal(0, 3, x.shape)
    grey = np.where((radius < outer) & (radius > bore), metal, plate)
    return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))


def scratched(part: Image.Image, generator: np.random.Generator) -> Image.Image:
    """The same part with a thin bright scratch that bends a little."""
    angle, turn = generator.uniform(0, 2 * np.pi), generator.uniform(-1.2, 1.2)
    heading = angle + np.pi / 2 + generator.uniform(-0.8, 0.8)
    middle, length = generator.uniform(0.18, 0.29), generator.uniform(0.07, 0.2)
    steps = np.linspace(-0.5, 0.5, 24)
    along = heading + turn * steps
    x = 0.5 + middle * np.cos(angle) + length * steps * np.cos(along)
    y = 0.5 + middle * np.sin(angle) + length * steps * np.sin(along)
    points = [(float(a), float(b)) for a, b in zip(x * DRAWN_AT, y * DRAWN_AT, strict=True)]
    mark = Image.new("L", part.size, 0)
    ImageDraw.Draw(mark).line(points, fill=255, width=int(generator.integers(4, 8)), joint="curve")
    mark = mark.filter(ImageFilter.GaussianBlur(1.2))
    return Image.composite(Image.new("L", part.size, int(generator.integers(195, 230))), part, mark)


def draw_parts(folder: Path) -> None:
    """Files of both classes."""
    generator = np.random.default_rng(0)
    for name, count in COUNTS.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            part = disc(generator)
            part = scratched(part, generator) if name == "scratched" else part
            small = part.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            small.save(folder / name / f"{number:03}.png")


def moekit(*words: str, at: Path) -> None:
    """Runs a command in a folder."""
    subprocess.run([sys.executable, "-m", "moekit", *words], cwd=at, check=True)  # noqa: S603


def take_picture(page: Path, target: Path) -> None:
    """The top of a page as Chromium shows it.

    Raises:
        SystemExit: There is no such browser.
    """
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        raise SystemExit(f"one of these is needed: {', '.join(BROWSERS)}")
    width, height = PAGE
    options = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--window-size={width},{height}"]
    command = [found, *options, f"--screenshot={target}", page.as_uri()]
    subprocess.run(command, check=True)  # noqa: S603


def side_by_side(pairs: list[tuple[Path, Path]]) -> Image.Image:
    """Parts in a row, and below each what was marked."""
    width = len(pairs) * (TILE + GAP) - GAP
    drawn = Image.new("RGB", (width, 2 * TILE + GAP), "white")
    for column, pair in enumerate(pairs):
        for row, path in enumerate(pair):
            with Image.open(path) as picture:
                tile = picture.convert("RGB").resize((TILE, TILE), Image.Resampling.LANCZOS)
            drawn.paste(tile, (column * (TILE + GAP), row * (TILE + GAP)))
    return drawn


def main() -> None:
    """Makes both pictures."""
    with tempfile.TemporaryDirectory() as made:
        home = Path(made)
        draw_parts(home / "parts")
        data = ("--data", "folder=parts")
        moekit("adapt", "industrial", *data, "--out", RUN, "--epochs", "16", at=home)
        moekit("evaluate", "industrial", *data, "--run", RUN, at=home)
        moekit("report", RUN, at=home)
        unseen = home / "new_parts"
        unseen.mkdir()
        generator = np.random.default_rng(1)
        for number in range(SHOWN):
            part = scratched(disc(generator), generator)
            part.resize((SIDE, SIDE), Image.Resampling.LANCZOS).save(unseen / f"{number}.png")
        moekit("predict", "industrial", "new_parts", "--run", RUN, "--out", SCORED, at=home)
        take_picture(home / RUN / "report.html", HERE / "report.png")
        with Image.open(HERE / "report.png") as picture:
            picture.convert("RGB").quantize(128).save(HERE / "report.png", optimize=True)
        overlays = sorted((home / SCORED / "overlays").iterdir())
        row = side_by_side(list(zip(sorted(unseen.iterdir()), overlays, strict=True)))
        row.quantize(128).save(HERE / "heatmaps.png", optimize=True)


if __name__ == "__main__":
    main()
