"""The facts about a series that subgroups and reports may use and that identify nobody."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence

from pydicom.dataset import Dataset

from moekit_medical.dicom.kinds import body_part

_TEXTS = {
    "manufacturer": "Manufacturer",
    "model": "ManufacturerModelName",
    "convolution_kernel": "ConvolutionKernel",
}
_NUMBERS = {"kvp": "KVP", "slice_thickness_mm": "SliceThickness"}
_AGE = re.compile(r"(\d{3})([DWMY])")
_DAYS = {"D": 1.0, "W": 7.0, "M": 365.25 / 12, "Y": 365.25}
_LONGEST = 64
_OLDEST = 90
"""Ages above are given as this one: older people are few enough to be known by their age."""


def slice_facts(holder: Callable[[str], Dataset]) -> tuple[tuple[str, str], ...]:
    """The facts that one slice states.

    Args:
        holder: Gives the data set that holds an attribute, or an empty one.
    """
    facts: dict[str, str] = {}
    for name, keyword in _TEXTS.items():
        value = holder(keyword).get(keyword)
        parts = [value] if isinstance(value, str) else list(value or ())
        facts[name] = "".join(
            letter for letter in "\\".join(map(str, parts)) if letter.isprintable()
        )[:_LONGEST].strip()
    for name, keyword in _NUMBERS.items():
        with contextlib.suppress(TypeError, ValueError, OverflowError):
            facts[name] = f"{float(holder(keyword).get(keyword)):g}"
    sex = str(holder("PatientSex").get("PatientSex") or "").strip()
    facts["patient_sex"] = sex if sex in ("F", "M", "O") else ""
    facts["body_part"] = body_part(str(holder("BodyPartExamined").get("BodyPartExamined") or ""))
    facts["patient_age_years"] = _age(str(holder("PatientAge").get("PatientAge") or ""))
    return tuple((name, value) for name, value in facts.items() if value)


def common_facts(facts: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The facts on which all slices agree."""
    first = facts[0]
    return {
        name: value
        for name, value in first.items()
        if all(other.get(name) == value for other in facts)
    }


def _age(text: str) -> str:
    """An age string (PS3.5 6.2, AS) in whole years, or an empty text."""
    match = _AGE.fullmatch(text.strip())
    if not match:
        return ""
    years = int(int(match[1]) * _DAYS[match[2]] / _DAYS["Y"] + 1e-9)
    return str(min(years, _OLDEST))
