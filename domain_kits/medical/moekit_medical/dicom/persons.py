"""Whether series that state one PatientID, or one study, show one person.

Numbers of patients are given again, typed wrongly or counted from 1 in each trial. Two birth dates
or two sexes are two persons. Two names are two persons unless both state one birth date: names
change and are spelled in several ways.

Nothing here is ever shown but tokens of series and names of attributes.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping

from pydicom.dataset import Dataset

from moekit_medical.privacy import token

NAME, BORN, SEX = "PatientName", "PatientBirthDate", "PatientSex"
Person = Mapping[str, str]
_SEXES = ("f", "m")


def person_of(dataset: Dataset) -> dict[str, str]:
    """Letters and digits of what says who it is, in lower case; only what is stated."""
    stated = {keyword: _text(dataset, keyword).casefold() for keyword in (NAME, BORN, SEX)}
    plain = {keyword: "".join(filter(str.isalnum, text)) for keyword, text in stated.items()}
    return {keyword: text for keyword, text in plain.items() if text}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stated:
    """What a series says of whom it shows.

    Attributes:
        series: Its token, which may be shown.
        shared: What it may have in common with others, by the name of the attribute: PatientID,
            StudyInstanceUID. Never shown.
        person: As of `person_of`. Never shown.
    """

    series: str
    shared: Mapping[str, str] = dataclasses.field(repr=False)
    person: Person = dataclasses.field(repr=False)

    @classmethod
    def of(
        cls, series_uid: str, person: Person, *, salt: bytes, patient: str, study_uid: str = ""
    ) -> Stated:
        """What a file of a series says.

        Args:
            series_uid: Its SeriesInstanceUID.
            person: As of `person_of`.
            salt: For the token.
            patient: The PatientID; empty if there is none.
            study_uid: The StudyInstanceUID; empty if it is not to be compared.
        """
        return cls(
            series=token(series_uid, salt=salt),
            shared={"PatientID": patient, "StudyInstanceUID": study_uid},
            person=person,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Doubt:
    """Two series that share an identifier and differ in who they show.

    Attributes:
        shared: The name of the attribute that they share.
        keyword: The name of the attribute in which they differ.
        series: Their tokens.
        is_another: Whether they show two persons; if not, a name differs and the birth date is one.
    """

    shared: str
    keyword: str
    series: tuple[str, str]
    is_another: bool

    def in_words(self) -> str:
        """The doubt in a sentence, without what it is about."""
        first, second = self.series
        who = "two persons" if self.is_another else "one person of two names"
        born = "" if self.is_another else ", the birth date is the same"
        return (
            f"one {self.shared} is used for {who}: {self.keyword} differs between the series "
            f"{first} and {second}{born}"
        )


def find_doubts(stated: Iterable[Stated]) -> tuple[Doubt, ...]:
    """The first contradiction of each identifier, two persons before two names.

    Args:
        stated: Of each series; several of one series are compared too.
    """
    sharing: dict[tuple[str, str], list[Stated]] = {}
    for one in stated:
        for name, value in one.shared.items():
            if value:
                sharing.setdefault((name, value), []).append(one)
    doubts = []
    for (name, _), many in sharing.items():
        kinds = {tuple(sorted(one.person.items())): one for one in many}
        found = [
            Doubt(
                shared=name,
                keyword=keyword,
                series=(first.series, second.series),
                is_another=is_another,
            )
            for first, second in itertools.combinations(kinds.values(), 2)
            if first.series != second.series  # one series is judged by itself
            for keyword, is_another in _differences(first.person, second.person)
        ]
        doubts += sorted(found, key=lambda doubt: not doubt.is_another)[:1]
    return tuple(doubts)


def _differences(first: Person, second: Person) -> Iterable[tuple[str, bool]]:
    """Attributes in which two persons differ, and whether that makes them two."""
    born = {person.get(BORN) for person in (first, second)}
    if len(born - {None}) == 2:
        yield BORN, True
    sexes = {first.get(SEX), second.get(SEX)}
    if sexes == set(_SEXES):
        yield SEX, True
    if NAME in first and NAME in second and first[NAME] != second[NAME]:
        yield NAME, len(born) > 1 or None in born


def _text(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    return "" if value is None else str(value).strip(" \0")
