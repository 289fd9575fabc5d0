"""The command line of de-identification."""

from __future__ import annotations

from pathlib import Path

import click

from moekit import command_options, print_json, reporter, say
from moekit_medical.deidentification.run import SUMMARY, Summary, deidentify_files
from moekit_medical.deidentification.salt import read_or_make_salt


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the copies: empty, new, or of an earlier call with the same salt.",
)
@click.option(
    "--salt-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Secret behind the new UIDs and ids; made if it is not there. Without it each call has "
    "a secret of its own, which nobody keeps.",
)
@command_options
def deidentify(path: Path, out: Path, salt_file: Path | None, as_json: bool) -> None:
    """Copy the DICOM files at PATH, a folder, a file, a zip archive or a DICOMDIR.

    The copies follow the Basic Application Level Confidentiality Profile of DICOM PS3.15 Annex E.
    Pixels are not cleaned: look at the pictures before you hand them on. With the same salt file
    the same command goes on where it stopped, and images of several calls stay together.
    """
    salt = read_or_make_salt(salt_file, out=out)
    if salt.is_new and salt_file is not None:
        say("a new salt was written to the salt file; keep it secret, and keep it")
    with reporter() as progress:
        summary = deidentify_files(path, out=out, salt=salt.data, on_progress=progress.update)
    if as_json:
        print_json(summary.as_json())
    else:
        _tell(summary)


def _tell(summary: Summary) -> None:
    say(", ".join(f"{number} {what}" for what, number in summary.counts().items()))
    for reason, number in summary.reasons().items():
        say(f"left out, {number}: {reason}")
    for warning, number in summary.warnings().items():
        say(f"warning, {number}: {warning}")
    for doubt in summary.doubts:
        say(f"warning: {doubt}")
    say(f"what each file became is in {SUMMARY} in the output folder")
