"""The report section on defect types: what of each type escapes, and at which price.

Loaders say the type of a defect in the fact `defect` ("good" for good parts) and, if a set holds
several products, the product in the fact `product`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from moekit import ReportContext, ReportSection, ReportSectionSpec, ReportTable
from moekit.evaluation import share_of
from moekit.tasks.score import RECOGNISED, UNKNOWN, Predictions, auroc, delong_ci

DEFECT, PRODUCT = "defect", "product"
OVERKILLS = (0.01, 0.02, 0.05)
"""Shares of good parts that may be rejected, at which escapes are given next to the chosen one."""

_TITLE = "Defect types"
_MEAN = "mean of the products"


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Point:
    """A threshold with its heading."""

    title: str
    threshold: float


def render_defect_types(context: ReportContext) -> ReportSection:
    """Escapes and AUROC of each defect type, and of each product if there are several."""
    scored, threshold = context.predictions, context.result.get("threshold", {}).get("value")
    if scored is None or not isinstance(threshold, float):
        return _without("predictions.csv or the threshold is not in this run.")
    if not any(scored.facts.get(DEFECT, ())):
        return _without("The data do not say of which type a defect is.")
    points = [
        _Point(title="at the chosen threshold", threshold=threshold),
        *_fixed_overkill(context.validation),
    ]
    lost = _lost(context.result)
    products = sorted(set(_facts(scored, PRODUCT)))
    tables = [
        _table(scored.take(rows), points, lost, product if len(products) > 1 else None)
        for product in products
        for rows in [np.flatnonzero(_facts(scored, PRODUCT) == product)]
    ]
    if len(products) > 1:
        tables.insert(0, _product_table(scored, products, points))
    return ReportSection(
        title=_TITLE,
        paragraphs=tuple(_paragraphs(scored, context.validation, points)),
        tables=tuple(table for table in tables if table.rows),
    )


def threshold_of_overkill(good: np.ndarray, share: float) -> float:
    """The lowest threshold at which at most a share of good parts is rejected.

    Args:
        good: (n,) scores of good parts, at least one.
        share: In [0, 1).
    """
    falling = np.sort(good)[::-1]
    allowed = int(share * len(good) + 1e-9)
    return float(np.nextafter(falling[allowed], np.inf))


def _without(reason: str) -> ReportSection:
    return ReportSection(title=_TITLE, paragraphs=(reason,))


def _facts(scored: Predictions, name: str) -> np.ndarray:
    return np.array(scored.facts.get(name, ("",) * len(scored)), dtype=object)


def _fixed_overkill(validation: Predictions | None) -> list[_Point]:
    """Thresholds from good parts of the validation split; none if there is no such part."""
    good = np.zeros(0) if validation is None else validation.scores[validation.labels == 0]
    if not len(good):
        return []
    return [
        _Point(title=f"at {share:.0%} overkill", threshold=threshold_of_overkill(good, share))
        for share in OVERKILLS
    ]


def _paragraphs(
    scored: Predictions, validation: Predictions | None, points: Sequence[_Point]
) -> list[str]:
    good = scored.take(np.flatnonzero(scored.labels == 0))
    told = [
        "Escapes are defective parts that pass. Intervals of shares are Wilson's, 95%, with the "
        "effective number of images if the data name groups; those of AUROC, each type against "
        "the good parts of its product, are DeLong's, by group if the data name groups."
    ]
    if len(points) > 1 and validation is not None:
        count = int((validation.labels == 0).sum())
        told.append(
            "Thresholds of a fixed overkill are read from the good parts of the validation split "
            f"(n = {count}{', too few to resolve 1%' if count < 100 else ''}) and applied here. "
            + (f"On the {len(good)} good parts of this split they reject " if len(good) else "")
            + ("; ".join(_rejected(point, good) for point in points[1:]) + "." if len(good) else "")
        )
    elif len(points) == 1:
        told.append("There are no validation scores from which a fixed overkill could be read.")
    return [text.strip() for text in [*told, *_recognised(scored)]]


def _recognised(scored: Predictions) -> list[str]:
    """How many images were taken for what they show, if the kit distinguishes products."""
    kinds, products = _facts(scored, RECOGNISED), _facts(scored, PRODUCT)
    if not any(kinds):
        return []
    unknown = int((kinds == UNKNOWN).sum())
    return [
        f"The product was recognised in {_share(kinds == products, scored.groups)} "
        f"images; {unknown} were taken for no product of the run, which are never passed."
    ]


def _rejected(point: _Point, good: Predictions) -> str:
    return f"{_share(good.scores >= point.threshold, good.groups)} {point.title}"


def _table(
    scored: Predictions,
    points: Sequence[_Point],
    lost: Mapping[tuple[str, str], int],
    product: str | None,
) -> ReportTable:
    """A row a defect type of one product, or of the whole set if `product` is None."""
    types, good = _facts(scored, DEFECT), scored.labels == 0
    rows = []
    for name in sorted(set(types[~good])):
        of_type = ~good & (types == name)
        rows.append((name or "not said", *_cells(scored, of_type, good, points)))
    missing = [
        f"{name or 'not said'}: {count} not scored"
        for (of, name), count in sorted(lost.items())
        if product in (None, of)
    ]
    rows += [(text, *("",) * (len(points) + 2)) for text in missing]
    heading = "defect" if product is None else f"defect of {product or 'no known product'}"
    return ReportTable(columns=(heading, *_columns(points)), rows=tuple(rows))


def _product_table(
    scored: Predictions, products: Sequence[str], points: Sequence[_Point]
) -> ReportTable:
    """A row a product with all of its defects, and the mean of their AUROCs."""
    of, good = _facts(scored, PRODUCT), scored.labels == 0
    rows, areas = [], []
    for product in products:
        here = of == product
        cells = _cells(scored, here & ~good, here & good, points)
        rows.append((product or "not said", *cells))
        areas.append(auroc(scored.scores[here], scored.labels[here]))
    known = [area for area in areas if not math.isnan(area)]
    if known:
        mean = f"{np.mean(known):.3f} (of {len(known)})"
        rows.append((_MEAN, *("",) * (len(points) + 1), mean))
    return ReportTable(columns=("product", *_columns(points)), rows=tuple(rows))


def _columns(points: Sequence[_Point]) -> tuple[str, ...]:
    return ("defective", *(f"escapes {point.title}" for point in points), "AUROC")


def _cells(
    scored: Predictions, defective: np.ndarray, good: np.ndarray, points: Sequence[_Point]
) -> tuple[str, ...]:
    of = scored.take(np.flatnonzero(defective))
    escapes = [_share(of.scores < point.threshold, of.groups) for point in points]
    return (str(len(of)), *escapes, _area(scored.take(np.flatnonzero(defective | good))))


def _share(hits: np.ndarray, groups: Sequence[str] | None) -> str:
    share = share_of(hits, np.ones(len(hits)), groups)
    if share.ci95 is None:
        return "undefined"
    low, high = share.ci95
    return f"{share.hits:.0f} of {share.of:.0f}: {share.value:.1%} ({low:.1%} to {high:.1%})"


def _area(part: Predictions) -> str:
    value = auroc(part.scores, part.labels)
    if math.isnan(value):
        return "undefined"
    low, high = delong_ci(part.scores, part.labels, part.groups)
    return f"{value:.3f} " + ("(no interval)" if math.isnan(low) else f"({low:.3f} to {high:.3f})")


def _lost(result: Mapping[str, Any]) -> dict[tuple[str, str], int]:
    """Defective parts of the split that could not be scored, by product and type."""
    counts: dict[tuple[str, str], int] = {}
    for entry in result.get("skipped", ()):
        if entry.get("label") == 1 and entry.get("split") == result.get("split"):
            facts = entry.get("facts") or {}
            key = (str(facts.get(PRODUCT, "")), str(facts.get(DEFECT, "")))
            counts[key] = counts.get(key, 0) + 1
    return counts


DEFECT_TYPES = ReportSectionSpec(
    name="defect_types",
    kits=("industrial", "anomalib"),
    render=render_defect_types,
    summary="escapes and AUROC of each defect type, at the chosen threshold and fixed overkill",
)
