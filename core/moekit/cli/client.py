"""`moekit client`: ask a server for answers; it needs no extra and no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from moekit.cli.options import asking_options, debug_option, json_option, with_options
from moekit.cli.output import print_json, print_table, say


@click.command()
@click.argument("url")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False))
@with_options(
    asking_options,
    json_option,
    debug_option,
)
def client(
    url: str,
    images: tuple[Path, ...],
    kits: tuple[str, ...],
    token_file: Path | None,
    as_json: bool,
) -> None:
    """Ask the server at URL for answers to IMAGEs.

    Names of files stay here. An answer that belongs to another image is refused.
    """
    from moekit.serve.client import Client, read_token

    token = None if token_file is None else read_token(token_file)
    entries = list(Client(url, token=token).answers(images, kits))
    unreadable = sum(entry["error"] is not None for entry in entries)
    if as_json:
        print_json({"n": len(entries), "unreadable": unreadable, "answers": entries})
        return
    print_table(
        "answers", ("file", "kit", "answer"), [row for entry in entries for row in _rows(entry)]
    )
    if unreadable:
        say(f"{unreadable} of {len(entries)} images could not be read")


def _rows(entry: dict[str, Any]) -> list[tuple[str, str, str]]:
    """File, kit and answer in short."""
    if entry["error"] is not None:
        return [(entry["file"], "", f"unreadable: {entry['error']['what']}")]
    answered = [(entry["file"], kit, one["verdict"]) for kit, one in entry["answers"].items()]
    failed = [
        (entry["file"], kit, f"no answer: {fault['what']}")
        for kit, fault in entry["failed"].items()
    ]
    chosen = entry.get("selected")
    if chosen is not None and chosen["kit"] is None:
        far = f"foreign: {chosen['score']:.2f} of the limit of {chosen['nearest']}, the nearest"
        answered.append((entry["file"], "", far))
    return [*answered, *failed]
