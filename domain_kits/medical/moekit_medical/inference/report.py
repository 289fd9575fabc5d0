"""One self-contained HTML page about a run: what was found, with pictures, and what was not."""

from __future__ import annotations

import base64
import dataclasses
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image

from moekit.files import atomic_text, to_json
from moekit_medical.findings.record import DISCLAIMER, Finding
from moekit_medical.findings.zoom import BAR_MM, LEAST_MM
from moekit_medical.hounsfield import WINDOW_WORDS
from moekit_medical.inference.records import InferenceSummary

LARGEST = 2_000_000
"""Bytes of the page."""

MOST_ROWS = 50
"""Findings of a series, refused series and ignored files that are listed."""

MOST_SERIES = 200
_QUALITY = 80
_MARGIN = 20_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """A small picture of a finding.

    Attributes:
        number: Of the finding, from 1.
        score: Of the finding.
        source: The picture as a data URI.
    """

    number: int
    score: float
    source: str


def as_pictures(findings: Sequence[Finding], drawn: Sequence[Image.Image]) -> tuple[Picture, ...]:
    """The pictures of the best findings for the page, as JPEG."""
    pairs = zip(findings, drawn, strict=False)
    return tuple(
        Picture(number=number, score=finding.score, source=_encode(image))
        for number, (finding, image) in enumerate(pairs, 1)
    )


def _encode(image: Image.Image) -> str:
    data = io.BytesIO()
    image.save(data, format="JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(data.getvalue()).decode('ascii')}"


def write_report(
    path: Path,
    summary: InferenceSummary,
    *,
    settings: Mapping[str, Any],
    provenance: Mapping[str, Any],
    told: Sequence[str],
    pictures: Mapping[str, Sequence[Picture]],
) -> None:
    """Writes the page, atomically.

    Pictures that would make it larger than `LARGEST` are left out, the worst findings first, and
    counted.

    Args:
        path: Of the page.
        summary: What became of each series.
        settings: How it was done.
        provenance: What the scores come from.
        told: Sentences on which model answers and on its threshold.
        pictures: For each series by name.

    Raises:
        StorageError: It cannot be written.
    """
    context = {
        "summary": summary,
        "disclaimer": DISCLAIMER,
        "settings": [(name, _plain(value)) for name, value in settings.items()],
        "provenance": [(name, _plain(value)) for name, value in provenance.items()],
        "told": told,
        "shown": (
            f"Each picture shows at least {LEAST_MM:g} x {LEAST_MM:g} mm around the finding, "
            f"window {WINDOW_WORDS}; the bar is {BAR_MM} mm long. The ring has the estimated "
            "diameter. Colour is the model's evidence where it reaches the threshold; where "
            "nothing is found there is none."
        ),
        "most_rows": MOST_ROWS,
        "most_series": MOST_SERIES,
    }
    bare = _render(context, {}, left_out=0)
    total = sum(map(len, pictures.values()))
    shown = _fit(pictures, LARGEST - _MARGIN - len(bare.encode("utf-8")))
    page = _render(context, shown, left_out=total - sum(map(len, shown.values())))
    with atomic_text(path) as file:
        file.write(page)


def _fit(pictures: Mapping[str, Sequence[Picture]], budget: int) -> dict[str, list[Picture]]:
    """The pictures within a number of bytes: the best of each series, then the second ones."""
    queue = sorted(
        ((picture.number, name, picture) for name, of in pictures.items() for picture in of),
        key=lambda entry: entry[:2],
    )
    shown: dict[str, list[Picture]] = {}
    for _, name, picture in queue:
        budget -= len(picture.source) + 200
        if budget < 0:
            break
        shown.setdefault(name, []).append(picture)
    return shown


def _render(
    context: Mapping[str, Any], pictures: Mapping[str, Sequence[Picture]], *, left_out: int
) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("moekit_medical.inference"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("report.html.j2")
    return template.render(context, pictures=pictures, left_out=left_out)


def _plain(value: Any) -> str:
    """A value as text."""
    if isinstance(value, str):
        return value
    return to_json(value, ensure_ascii=False, sort_keys=True)
