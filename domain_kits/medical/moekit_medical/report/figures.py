"""What a run's files say of performance: metrics, intervals, the comparison, errors, subgroups.

As in `facts`, each function returns None if the files lack the answer, and none raises.
"""

from __future__ import annotations

from moekit import ReportContext
from moekit_medical.report.facts import task
from moekit_medical.report.plain import at, count, figure, interval, scalar, table, text
from moekit_medical.report.subgroups import known_strata

_MODELS = {
    "specialist": "the specialist",
    "baseline": "the baseline, not the specialist,",
    "mean": "the mean of specialist and baseline",
}
_DIAGNOSTIC = ("auroc", "sensitivity", "specificity")


def metrics(context: ReportContext) -> str | None:
    """Every metric of the reported split with its 95% interval."""
    told = _metrics(table(context.result, "metrics"))
    number = count(at(context.result, "n"))
    return (
        f"with 95% intervals: {', '.join(told[:12])}{f'; n = {number}' if number else ''}"
        if told
        else None
    )


def metric_names(context: ReportContext) -> str | None:
    """Which metrics are reported."""
    names = [text(name, limit=40) or "?" for name in table(context.result, "metrics")]
    return f"metrics: {', '.join(names[:12])}" if names else None


def diagnostic(context: ReportContext) -> str | None:
    """AUROC, sensitivity and specificity."""
    entries = table(context.result, "metrics")
    told = _metrics({name: entries[name] for name in _DIAGNOSTIC if name in entries})
    return f"{', '.join(told)}, with 95% intervals" if told else None


def interval_method(context: ReportContext) -> str | None:
    """How the intervals were made."""
    method = text(at(context.result, "interval", "method"))
    if method is None:
        return None
    level = figure(at(context.result, "interval", "level"), 2)
    drawn = count(at(context.result, "interval", "resamples"))
    return (
        f"intervals of level {level or 'not stated'}: {method}"
        f"{f', {drawn} resamples' if drawn else ''}"
    )


def bootstrap_seed(context: ReportContext) -> str | None:
    """The seed of the intervals."""
    number = count(at(context.result, "bootstrap_seed"))
    return f"seed of the bootstrap {number}" if number is not None else None


def comparison(context: ReportContext) -> str | None:
    """The kit against its baseline."""
    difference = figure(at(context.result, "comparison", "auroc_difference"))
    p = at(context.result, "comparison", "delong_p")
    if difference is None or figure(p) is None:
        return None
    name = text(at(context.result, "baseline", "name")) or "the baseline"
    ci95 = interval(at(context.result, "comparison", "ci95"))
    told = "p < 0.001" if p < 0.001 else f"p = {p:.3f}"
    return (
        f"against {name}: AUROC difference {difference}{f' ({ci95})' if ci95 else ''}, paired "
        f"DeLong test {told}"
    )


def answering(context: ReportContext) -> str | None:
    """Which of the run's models `predict` answers by, and why."""
    model = at(context.result, "used", "model")
    words = _MODELS.get(model) if isinstance(model, str) else None
    if words is None:
        return None
    why = text(at(context.result, "used", "in_words"), limit=300)
    return f"{words} answers{f' ({why})' if why else ''}"


def guarantee(context: ReportContext) -> str | None:
    """What the rule of the threshold promises, and what that assumes; None without a promise."""
    told = at(context.result, "point_in_words")
    sentences = [text(one, limit=450) for one in told] if isinstance(told, list | tuple) else []
    return next((one for one in sentences if one and "Assumed" in one), None)


def errors(context: ReportContext) -> str | None:
    """Right and wrong decisions at the operating threshold."""
    scored, threshold = context.predictions, at(context.result, "threshold", "value")
    if scored is None or figure(threshold) is None:
        return None
    called = scored.scores >= threshold
    missed, alarm = (
        text(at(context.result, "outcome_names", key), limit=40) or word
        for key, word in (("missed", "missed"), ("false_alarm", "false alarm"))
    )
    positive = scored.labels == 1
    return (
        f"at the threshold: true positives {int((called & positive).sum())}, {missed} "
        f"{int((~called & positive).sum())}, {alarm} {int((called & ~positive).sum())}, true "
        f"negatives {int((~called & ~positive).sum())}"
    )


def subgroups(context: ReportContext) -> str | None:
    """Whether results by subgroup are there, and how large the subgroups are."""
    found = at(context.result, "subsets")
    if not isinstance(found, dict):
        return None
    strata = known_strata(context.predictions) if context.predictions is not None else []
    if strata:
        return f"results by {', '.join(strata)} are in the section on subgroups"
    if not found:
        return "no results by subgroup: the data name neither scanners, sizes nor subtypes"
    sizes = [number for entry in found.values() if (number := count(at(entry, "n")))]
    told = f" of {', '.join(sizes[:12])} images" if sizes else ""
    return f"results by subtype are in this report; subgroups: {len(found)}{told}"


def no_analysis(context: ReportContext) -> str | None:
    """An analysis that no run makes, such as of robustness or across hospitals."""
    del context
    return None


def ensemble(context: ReportContext) -> str | None:
    """Whether several models are combined."""
    decay = scalar(at(context.record, "request", "recipe", "average"))
    if decay is None:
        return None
    return f"none: one model; its weights are a moving average over training (decay {decay})"


def explanation(context: ReportContext) -> str | None:
    """How a decision is explained."""
    if not table(context.result, "backbone"):
        return None
    return "maps of the patches that a score rests on, drawn for the worst errors"


def predictors(context: ReportContext) -> str | None:
    """What the model sees."""
    if task(context) is None:
        return None
    return "the pixels of the image alone; no clinical variable enters, none was selected"


def updating(context: ReportContext) -> str | None:
    """Whether evaluation changed the model."""
    if not table(context.result, "metrics"):
        return None
    return "none: evaluation changes no weight and recalibrates nothing"


def _metrics(entries: dict[str, object]) -> list[str]:
    told = []
    for name, entry in entries.items():
        value, ci95 = figure(at(entry, "value")), interval(at(entry, "ci95"))
        if value is not None:
            told.append(f"{text(name, limit=40)} {value} ({ci95 or 'no interval'})")
    return told
