"""The section on calibration: can a score be read as a probability?"""

from __future__ import annotations

from moekit import ReportContext, ReportSection, ReportSectionSpec, ReportTable
from moekit_medical.metrics.classification import brier, expected_calibration_error
from moekit_medical.metrics.reliability import reliability_curve

_BINS = 10
_TITLE = "Calibration"


def render_calibration(context: ReportContext) -> ReportSection:
    """The reliability curve as a table, with the calibration error next to the base rate's."""
    scored = context.predictions
    if scored is None or not len(scored):
        return ReportSection(title=_TITLE, paragraphs=("predictions.csv is not in this run.",))
    bins = reliability_curve(scored.scores, scored.labels, bins=_BINS)
    share = float(scored.labels.mean())
    error = expected_calibration_error(scored.scores, scored.labels, 0.5)
    return ReportSection(
        title=_TITLE,
        paragraphs=(
            f"Expected calibration error {error:.4f} (15 bins), Brier score "
            f"{brier(scored.scores, scored.labels, 0.5):.4f}; a score that is always the share of "
            f"positives here, {share:.4f}, would have a Brier score of {share * (1 - share):.4f}.",
            "The table is the reliability curve: if scores are probabilities, the observed "
            "share lies near the mean score. Intervals are Wilson's, 95%.",
        ),
        tables=(
            ReportTable(
                columns=("scores", "n", "mean score", "observed share", "95% interval"),
                rows=tuple(
                    (
                        f"{part.lower:.2f} to {part.upper:.2f}",
                        str(part.count),
                        f"{part.mean_score:.3f}",
                        f"{part.frequency:.3f}",
                        f"{part.ci95[0]:.3f} to {part.ci95[1]:.3f}",
                    )
                    for part in bins
                ),
            ),
        ),
    )


CALIBRATION = ReportSectionSpec(
    name="calibration",
    kits=("medical",),
    render=render_calibration,
    summary="the reliability curve and calibration error",
)
