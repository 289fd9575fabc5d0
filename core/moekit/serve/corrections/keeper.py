"""Where a server keeps corrections: a folder for each kit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from moekit.corrections.kept import Kept
from moekit.corrections.store import Correction, Store
from moekit.errors import ImageError, UsageError
from moekit.serve import refusals
from moekit.serve.corrections.schema import CorrectionRequest
from moekit.serve.facts import KitFacts
from moekit.serve.intake import from_base64
from moekit.serve.reading import read_content


class Keeper:
    """Keeps corrections of the served kits.

    Args:
        folder: Where, with a folder for each kit.
        facts: The served kits; those whose task takes no corrections have none.
        most_pixels: Most pixels of an image.

    Raises:
        DataError: A folder holds corrections in other terms, or is damaged.
        StorageError: It cannot be written.
        UsageError: A kit has a name that no folder should have, or none takes corrections.
    """

    def __init__(self, folder: Path, facts: Sequence[KitFacts], *, most_pixels: int) -> None:
        self._facts = {one.name: one for one in facts}
        self._most_pixels = most_pixels
        odd = [one.name for one in facts if one.name.startswith(".") or "\\" in one.name]
        taking = [one for one in facts if one.corrects is not None]
        if odd or not taking:
            raise UsageError(
                f"{odd[0]!r} is no name for a folder" if odd else "no kit takes corrections",
                whose="--corrections",
                fix="serve the run under another name: NAME=RUN" if odd else "leave it out",
                code="usage/no-corrections",
            )
        self._stores = {
            one.name: Store(folder / one.name, one.corrects)
            for one in taking
            if one.corrects is not None
        }

    def add(self, asked: CorrectionRequest) -> tuple[Kept, bool]:
        """Keeps a correction; see `Store.add`.

        Raises:
            RefusedError: The kit is unknown or takes no corrections, the image cannot be read, or
                the receipt is of another image.
            DataError: The label does not fit the kit or the image.
            StorageError: It cannot be written.
            UsageError: Its key is that of another correction.
        """
        facts = self._facts.get(asked.kit)
        if facts is None:
            raise refusals.unknown_kits([asked.kit], list(self._facts))
        if facts.name not in self._stores:
            raise refusals.not_corrected(facts.name, facts.task)
        content = from_base64(asked.image, "image")
        try:
            pages, _ = read_content(content, bits=facts.bits, most_pixels=self._most_pixels)
        except ImageError as error:
            raise refusals.unusable(error) from error
        receipt = None if asked.receipt is None else asked.receipt.model_dump()
        made = Correction(
            content=content,
            size=(pages[0].height, pages[0].width),
            label=asked.label,
            confirmed=asked.confirmed,
            by=asked.by.strip(),
            group=asked.group.strip(),
            receipt=receipt,
            key=asked.key,
        )
        if receipt is not None and receipt["image_sha256"] != made.sha256:
            raise refusals.malformed("the receipt is of another image than is sent with it")
        return self._stores[facts.name].add(made)

    def takes(self, kit: str) -> bool:
        """Whether corrections of a kit are taken."""
        return kit in self._stores

    def corrected(self) -> set[str]:
        """SHA-256 of all images of which something was said."""
        return {image for one in self._stores.values() for image in one.current()}

    def summary(self) -> list[dict[str, Any]]:
        """How many corrections of each kit there are."""
        return [{"kit": name, **one.summary()} for name, one in self._stores.items()]
