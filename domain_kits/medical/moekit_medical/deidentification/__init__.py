"""`moekit deidentify`: copies of DICOM files without whom they show.

The profile itself is `moekit_medical.findings.deidentify`; here are the files around it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from moekit import CommandSpec

if TYPE_CHECKING:
    import click


def _build() -> click.Command:
    from moekit_medical.deidentification.command import deidentify

    return deidentify


DEIDENTIFY = CommandSpec(
    name="deidentify", build=_build, summary="Copy DICOM files without whom they show."
)
