"""The report of a run: one self-contained HTML file, made from the files in the run folder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from moekit.contract.report import HEADER, JOINED, METRICS, NEXT, WORST
from moekit.errors import DataError
from moekit.files import atomic_text, check_writable
from moekit.licences import NOT_RECORDED, Link, lines_of, read_links, remarks_on
from moekit.occupied import alone_in
from moekit.plugins.registry import Registry
from moekit.report.compute import compute_section
from moekit.report.drawing import STYLES, Drawn
from moekit.report.near import near_section
from moekit.report.next_steps import next_steps
from moekit.report.run_files import PagePictures, naming, read_history, read_pictures, read_routing
from moekit.report.sections import (
    plugin_sections,
    read_context,
    task_name,
    task_of,
    task_sections,
    unverified,
)
from moekit.report.svg import interval_chart
from moekit.report.text import readable, with_code
from moekit.report.training import training_charts
from moekit.runs.schema import read_result

_logger = logging.getLogger(__name__)
LARGEST = 2_000_000
_MARGIN = 20_000
_PAGE, _STEPS = "writing the report", 4


@alone_in("run", make=False)
def render_report(
    run: Path,
    *,
    registry: Registry | None = None,
    on_progress: Callable[[str, int, int], None] = lambda *_: None,
) -> Path:
    """Writes RUN/report.html.

    Sections whose file is missing are left out, and the page says which command makes it. Pictures
    are left out, and counted, if the page would pass `LARGEST` bytes.

    Args:
        run: A run folder with result.json.
        registry: Provides the task, and plugins that may add sections; the installed ones if
            None.
        on_progress: Called with a description, what is done and the total.

    Returns:
        The path of the report.

    Raises:
        DataError: result.json is missing, or a file is damaged.
        StorageError: The report cannot be written.
    """
    source = run / "result.json"
    if not source.exists():
        raise DataError(
            "the run has no result yet",
            whose=str(run),
            fix="evaluate it first: moekit evaluate KIT --data D --run RUN",
            code="data/no-result",
        )
    check_writable(run)
    result, registry = read_result(source), registry or Registry()
    about = read_context(run, registry)
    with naming(source):
        context = {
            "result": result,
            "headline": next(iter(result["metrics"]), None),
            "counts": _counts(result),
            "comparison": _comparison(result),
            "rows": _metric_rows(result),
            "facts": _facts(result, task_name(result, registry)),
        }
    on_progress(_PAGE, 0, _STEPS)
    task = task_of(result, registry)
    of_task, unsure = task_sections(about, registry), unverified(about)
    if unsure:
        _logger.warning("%s: %s", run, unsure)
    context |= {
        "sections": [section for section in of_task if section.title not in JOINED],
        "header": _joined(of_task, HEADER),
        "on_metrics": _joined(of_task, METRICS),
        "on_worst": _joined(of_task, WORST),
        "steps": next_steps(run, result, _joined(of_task, NEXT).paragraphs),
        "routing": read_routing(run),
        "history": training_charts(read_history(run), task.show.names if task else {}),
        "added": plugin_sections(about, registry),
        "unverified": unsure,
    }
    on_progress(_PAGE, 1, _STEPS)
    with naming(run / "run.json"):
        context["compute"] = compute_section(about.record)
    with naming(source):
        context["near"] = near_section(run, result, about.record)
        context["tokens"] = None
        on_progress(_PAGE, 2, _STEPS)
        bare = _render(context, None)
        pictures = read_pictures(
            run,
            budget=LARGEST - _MARGIN - len(bare.encode("utf-8")),
            classes=result.get("classes", ()),
        )
        on_progress(_PAGE, 3, _STEPS)
        room = LARGEST - _MARGIN - len(_render(context, pictures).encode("utf-8"))
        context["tokens"] = read_pictures(run, budget=room, folder="tokens")
        page = _render(context, pictures)
    path = run / "report.html"
    with atomic_text(path) as file:
        file.write(page)
    on_progress(_PAGE, _STEPS, _STEPS)
    return path


def _joined(sections: list[Drawn], title: str) -> Drawn:
    """The first section of a title, or an empty one."""
    return next((section for section in sections if section.title == title), Drawn(title=title))


def _render(context: dict[str, Any], pictures: PagePictures | None) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("moekit.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=readable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., str]] = {
        "figure": _figure,
        "signed": lambda value: f"{value:+.4f}",
        "interval": _interval,
        "percent": lambda value: f"{value:.1%}",
        "with_code": with_code,
    }
    environment.filters |= filters
    return environment.get_template("report.html.j2").render(context, pictures=pictures)


def _counts(result: Mapping[str, Any]) -> dict[str, str]:
    """Counts of the result and of its parts, with their headings.

    Besides n these are the whole numbers whose name is the plural of a word of the result: a count
    `ripes` is headed by the value of `ripe`.
    """
    return {
        name: result[name[:-1]]
        for name, value in result.items()
        if _is_count(value) and name.endswith("s") and isinstance(result.get(name[:-1]), str)
    }


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _comparison(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """The tile of the paired difference, and which of the two is better.

    The difference may be named by `metric`, `difference`, `p` and `test`; a comparison that leaves
    them out gets its tile from the task, and is of a figure of which more is better.
    """
    given = result["comparison"]
    if not given:
        return None
    metric = given.get("metric")
    entry = result["metrics"].get(metric, {"higher_is_better": True})
    return {
        "name": metric if given.get("difference") is not None else None,
        "difference": given.get("difference"),
        "ci95": given.get("ci95"),
        "p": given.get("p"),
        "test": given.get("test") or "",
        "better": _better(given, up=entry["higher_is_better"]),
    }


def _metric_rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    """For each metric: the kit, the baseline, a drawing of both, and what the difference says."""
    baseline = (result["baseline"] or {}).get("metrics", {})
    differences = (result["comparison"] or {}).get("metrics", {})
    rows = []
    for name, entry in result["metrics"].items():
        pair = [(STYLES["kit"], entry), (STYLES["baseline"], baseline.get(name))]
        drawn = [
            (style, shown["value"], *shown["ci95"])
            for style, shown in pair
            if shown is not None and shown["value"] is not None and shown["ci95"] is not None
        ]
        gap = differences.get(name)
        rows.append(
            {
                "name": name,
                "kit": entry,
                "baseline": baseline.get(name),
                "from": [
                    *_counted(entry),
                    *(
                        f"{value} {what} in {entry['n']} images"
                        for what, value in entry.items()
                        if what != "n" and _is_count(value) and value
                    ),
                ],
                "drawing": interval_chart(f"Intervals of {name}", drawn) if drawn else None,
                "difference": gap,
                "better": _better(gap, up=entry["higher_is_better"]),
            }
        )
    return rows


def _counted(entry: Mapping[str, Any]) -> list[str]:
    """The counts behind a share of items."""
    share = entry.get("share")
    if not share or not all(_is_count(share.get(name)) for name in ("hits", "of")):
        return []
    effective = share.get("effective", share["of"])
    alone = "" if effective == share["of"] else f", which tell as much as {effective:.0f} alone"
    return [f"{share['hits']} of {share['of']}{alone}"]


def _better(gap: Mapping[str, Any] | None, *, up: bool) -> str | None:
    """`kit` or `baseline` if the interval of the difference leaves out 0; None elsewhere."""
    if gap is None or gap.get("ci95") is None:
        return None
    low, high = gap["ci95"]
    if low <= 0 <= high:
        return None
    return "kit" if (low > 0) == up else "baseline"


def _facts(result: dict[str, Any], task: str) -> list[tuple[str, str]]:
    """Provenance as rows of a table."""
    backbone, throughput = result["backbone"], result["throughput"]
    placed = _PLACEMENTS.get(result.get("placement") or "")
    rows = [
        ("task", task),
        ("data", f"{result['dataset']}: {result['data']['source']}"),
        ("licence of the data", result["data"]["licence"]),
        ("splits", result["split_note"]),
        ("seed", f"{result['seed']} (training), {result['bootstrap_seed']} (bootstrap)"),
        (
            "backbone",
            f"{backbone['architecture']}, {backbone['experts']} experts a block, "
            f"top_k {backbone['top_k']}{_tokens_in_words(backbone.get('tokens'))}",
        ),
        *([("specialists", placed)] if placed else []),
        ("backbone weights", f"{backbone['provenance']} Licence: {backbone['licence']}."),
        ("backbone SHA-256", backbone["sha256"]),
        ("kit weights SHA-256", result["weights"]["kit_sha256"]),
        (
            "trained parameters",
            f"{result['parameters']['trained']:,} next to "
            f"{result['parameters']['backbone']:,} frozen",
        ),
        (
            "throughput",
            f"{throughput['images_per_s']:.1f} images/s, batch "
            f"{throughput['batch_size']}, {throughput['precision']}, "
            f"{throughput['device']}",
        ),
        ("machine", _words(result["machine"])),
        ("versions", _words(result["versions"])),
        ("made", f"{result['created']} by {result['command']}"),
    ]
    rows += [
        (
            f"plugin {plugin['name']}",
            f"{plugin['distribution']} {plugin['version']}, manifest {plugin['manifest_sha256']}",
        )
        for plugin in result["plugins"]
    ]
    known = read_links(result)
    if known is None:
        return [*rows, ("licences", NOT_RECORDED)]
    return [*rows, *(("licence", line) for line in lines_of(known)), *_remarks(known)]


_PLACEMENTS = {
    "side": "in the side stream: they read the backbone's tokens and change none of them",
    "none": "left out: a head on the frozen backbone",
}
"""What the report says of a placement that is not that of the trunk."""


def _remarks(known: Sequence[Link]) -> list[tuple[str, str]]:
    told = remarks_on(known)
    return [("licences", told)] if told else []


def _words(facts: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def _figure(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


def _interval(bounds: list[float] | None) -> str:
    return "no interval" if bounds is None else f"{bounds[0]:.4f} to {bounds[1]:.4f}"


def _tokens_in_words(tokens: Mapping[str, Any] | None) -> str:
    """Which patches are computed one by one, as the end of a sentence on the backbone."""
    if tokens is None:
        return ""
    side = tokens["window"]
    others = "skip" if side is None else f"are computed by windows of {side} x {side}"
    return (
        f"; blocks {tokens['block'] + 1} to {tokens['until']} compute {tokens['share']:.0%} of the "
        f"patches one by one, chosen by {tokens['gate']}, and the others {others}"
    )
