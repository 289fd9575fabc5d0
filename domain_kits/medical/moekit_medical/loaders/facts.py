"""Facts of a sample that subgroups are made from, and the scan and the lesion that it belongs to.

No fact identifies anybody: makers are those of a closed list, sizes are numbers, scans and lesions
are named by the first line of the table that has them.

| column of labels.csv | fact | what |
| --- | --- | --- |
| manufacturer | manufacturer | of the scanner; a maker of the list, or `other` |
| slice_thickness_mm | slice_thickness_mm | a positive number |
| size_mm | size_mm | diameter of the lesion, a positive number |
| scan (else series or volume) | scan | `scan of line 7` |
| lesion | lesion | `lesion of line 9`; candidates of one lesion share it |
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from moekit.builtin.loaders import unread_columns
from moekit_medical.loaders.labels import Row, Table, fault, numbers

MANUFACTURER, THICKNESS, SIZE = "manufacturer", "slice_thickness_mm", "size_mm"
SCAN, LESION = "scan", "lesion"
SUBTYPE = "subtype"
MOST_SUBTYPES = 12

OTHER_MAKER = "other"
_MAKERS = {
    "Canon or Toshiba": r"canon|toshiba",
    "Fujifilm or Hitachi": r"fuji|hitachi",
    "GE": r"ge\b|gems|general electric|imatron",
    "Neusoft": r"neusoft",
    "Philips": r"philips|marconi|picker|elscint",
    "Samsung": r"samsung|neurologica",
    "Shimadzu": r"shimadzu",
    "Siemens": r"siemens",
    "United Imaging": r"united imaging|uih",
}
_SUBTYPE = re.compile(r"[a-z0-9][a-z0-9 _-]{0,23}")


def maker(text: str) -> str:
    """The maker of a scanner as a name of the list; `other` for any other text, "" for none."""
    words = " ".join(re.findall(r"[a-z0-9]+", text.lower()))
    if not words:
        return ""
    return next(
        (name for name, known in _MAKERS.items() if re.search(rf"\b(?:{known})", words)),
        OTHER_MAKER,
    )


def facts_of_scan(facts: Mapping[str, str]) -> dict[str, str]:
    """What subgroups need of the facts that a volume states."""
    found = {MANUFACTURER: maker(facts.get(MANUFACTURER, "")), THICKNESS: facts.get(THICKNESS, "")}
    return {name: value for name, value in found.items() if value}


def unread(table: Table, *read: str) -> tuple[str, ...]:
    """A sentence on the columns that are neither facts nor read by a loader, if there are any."""
    facts = (MANUFACTURER, THICKNESS, SIZE, LESION, SUBTYPE)
    return unread_columns(table.columns, {"label", "patient", *facts, *read})


def facts_of_rows(
    table: Table,
    *,
    scan_columns: Sequence[str],
    stated: Mapping[int, Mapping[str, str]] | None = None,
) -> dict[int, dict[str, str]]:
    """The facts of each line of a table.

    Args:
        table: The table.
        scan_columns: Columns that name the scan, the first that the table has.
        stated: What the files say of a line; a filled cell of the table goes before it.

    Raises:
        DataError: A size is no positive number, or a lesion has a label of its own or several
            scans.
    """
    scan_column = next((name for name in scan_columns if name in table.columns), None)
    names: dict[tuple[str, ...], str] = {}
    homes: dict[str, tuple[str, int]] = {}
    facts = {}
    for row in table.rows:
        found = dict((stated or {}).get(row.line, {}))
        found |= facts_of_scan({MANUFACTURER: row.cells.get(MANUFACTURER, "")})
        for column in (THICKNESS, SIZE):
            value = numbers(row, (column,))
            if value is not None:
                if value[0] <= 0:
                    raise fault(
                        row.line, f"{column} is not a positive number", code="data/bad-value"
                    )
                found[column] = f"{value[0]:g}"
        scan = row.cells.get(scan_column, "") if scan_column else ""
        if scan:
            found[SCAN] = names.setdefault((SCAN, scan), f"scan of line {row.line}")
        lesion = row.cells.get(LESION, "")
        if lesion:
            _check_lesion(row, scan, homes)
            found[LESION] = names.setdefault((LESION, lesion), f"lesion of line {row.line}")
        facts[row.line] = found
    return facts


def subtypes_of_rows(table: Table) -> dict[int, str]:
    """The column subtype, by line; its values are shown in reports.

    Raises:
        DataError: A value is no short word, or there are too many of them for strata.
    """
    found = {row.line: row.cells.get(SUBTYPE, "").lower() for row in table.rows}
    for line, value in found.items():
        if value and not _SUBTYPE.fullmatch(value):
            raise fault(
                line,
                f"{SUBTYPE} is not a word of at most 24 letters, digits, - or _",
                code="data/bad-value",
            )
    values = sorted(set(found.values()) - {""})
    if len(values) > MOST_SUBTYPES:
        line = next(line for line, value in found.items() if value == values[-1])
        raise fault(
            line,
            f"{SUBTYPE} has more than {MOST_SUBTYPES} values, so it names no strata",
            code="data/too-many-values",
        )
    return {line: value for line, value in found.items() if value}


def _check_lesion(row: Row, scan: str, homes: dict[str, tuple[str, int]]) -> None:
    """A lesion lies in one scan, and only positive candidates hit it."""
    if row.label != 1:
        raise fault(
            row.line,
            "it names a lesion and its label is not that of one",
            code="data/contradiction",
        )
    first = homes.setdefault(row.cells[LESION], (scan, row.line))
    if first[0] != scan:
        raise fault(
            row.line, f"its lesion is in another scan on line {first[1]}", code="data/contradiction"
        )
