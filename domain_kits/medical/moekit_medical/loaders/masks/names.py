"""Which structures and segments are lesions, by the words that label them.

A label may hold a name, so none is ever shown.
"""

from __future__ import annotations

import dataclasses
import fnmatch

from moekit import DataError

USUAL = ("gtv*", "*lesion*", "*nodule*", "*tumor*", "*tumour*", "*neoplasm*", "*metastas*")
"""Patterns of usual labels; GTV is the gross tumour volume of radiotherapy (PS3.3 C.8.8.8)."""

_MOST = 50


@dataclasses.dataclass(frozen=True, kw_only=True)
class LesionNames:
    """Patterns of labels.

    Attributes:
        patterns: In lower case; `*` stands for any letters.
    """

    patterns: tuple[str, ...] = USUAL

    def match(self, *labels: str) -> bool:
        """Whether one of the labels is that of a lesion."""
        return any(
            fnmatch.fnmatchcase(label.strip().lower(), pattern)
            for label in labels
            for pattern in self.patterns
        )


def parse_names(text: str | None) -> LesionNames:
    """The patterns of the option `roi`, with commas between them.

    Raises:
        DataError: One is empty, or there are too many.
    """
    if text is None:
        return LesionNames()
    patterns = tuple(part.strip().lower() for part in text.split(","))
    if not all(patterns) or len(patterns) > _MOST:
        raise DataError(
            f"the labels are not 1 to {_MOST} words with commas between them",
            whose="the option roi",
            fix="write it as in ?roi=gtv*,tumour; * stands for any letters",
            code="data/bad-option",
        )
    return LesionNames(patterns=patterns)
