"""A reporting guideline as a table: what each item asks for, and what the run's files answer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from moekit import ReportContext, ReportSection, ReportTable
from moekit_medical.findings.record import DISCLAIMER

UNKNOWN = "not known to this program; the authors must say"
ABSENT = "not in this run's files"
ADD = "The authors must add: "
COLUMNS = ("item", "asks for", "answer")
LONGEST = 495
"""Characters of an answer; the report cuts cells that are longer than 500."""

Fact = Callable[[ReportContext], str | None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Item:
    """One item of a guideline.

    Attributes:
        number: As the guideline counts it.
        asks: What it asks for, in a few words.
        facts: Say what the run's files hold of it, or None; without facts no program can know.
        rest: What is left to the authors if the facts are known; empty for nothing.
        section: Of the guideline.
    """

    number: str
    asks: str
    facts: tuple[Fact, ...]
    rest: str
    section: str = ""


def item(number: str, asks: str, *facts: Fact, rest: str = "") -> Item:
    """An item that the facts answer; none if it is the authors' alone."""
    return Item(number=number, asks=asks, facts=facts, rest=rest)


def part(section: str, *items: Item) -> tuple[Item, ...]:
    """Items of one section of a guideline."""
    return tuple(dataclasses.replace(entry, section=section) for entry in items)


def answer(entry: Item, context: ReportContext) -> str:
    """What the files answer, `ABSENT` if they lack it, `UNKNOWN` if they cannot know it."""
    if not entry.facts:
        return UNKNOWN
    told = [sentence for fact in entry.facts if (sentence := fact(context))]
    if not told:
        return ABSENT
    rest = f". {ADD}{entry.rest}" if entry.rest else ""
    line = "; ".join(dict.fromkeys(told))
    room = LONGEST - len(rest)
    return f"{line[: room - 4]} ...{rest}" if len(line) > room else f"{line}{rest}"


def checklist_section(
    name: str, source: str, items: Sequence[Item], context: ReportContext
) -> ReportSection:
    """The section of one guideline.

    Args:
        name: Of the guideline.
        source: Its paper.
        items: All its items, in its order.
        context: The run's files.
    """
    rows = tuple(
        (f"{entry.number} ({entry.section})", entry.asks, answer(entry, context)) for entry in items
    )
    answers = [row[2] for row in rows]
    unknown, absent = answers.count(UNKNOWN), answers.count(ABSENT)
    partly = sum(ADD in text for text in answers)
    whole = len(rows) - unknown - absent - partly
    return ReportSection(
        title=f"Reporting guideline {name}",
        paragraphs=(
            f"Of the {len(rows)} items of {name} this run's files answer {whole}, and {partly} in "
            f"part; {unknown + absent} are left to the authors: {unknown} that the program cannot "
            f"know, and {absent} whose facts are not in this run's files.",
            "A filled table shows what is reported, and is no proof of the quality of a study. "
            f"The items are shortened: read the guideline itself, {source}. {DISCLAIMER}",
        ),
        tables=(ReportTable(columns=COLUMNS, rows=rows),),
    )
