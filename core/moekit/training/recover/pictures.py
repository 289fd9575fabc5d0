"""Unlabelled pictures as batches, each crop decided by the seed, the picture and the epoch only.

Shapes: B images, S side of the input.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from moekit.data.content import Contents
from moekit.data.images import read_image, read_remarked, relative_id
from moekit.data.remarks import RemarkTally
from moekit.data.samples import Skipped
from moekit.data.stream import Preprocess
from moekit.data.survey import none_usable, survey_folder
from moekit.data.views import view
from moekit.errors import DataError, ImageError
from moekit.outputs import outputs_note
from moekit.text import many

_LEAST_AREA = 0.35


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pictures:
    """The pictures of a folder, a part of them held out.

    Attributes:
        train: Files to learn from.
        held_out: Files for the figures only.
        unreadable: How many files could not be read.
        notes: Sentences on what was left out or guessed.
        contents: Hashes the files.
    """

    train: tuple[Path, ...]
    held_out: tuple[Path, ...]
    unreadable: int
    notes: tuple[str, ...] = ()
    contents: Contents = dataclasses.field(default_factory=Contents, compare=False)

    def content(self) -> str:
        """SHA-256 of the bytes of all pictures as they are now, those held out apart."""
        digest = hashlib.sha256()
        for name, files in (("train", self.train), ("held out", self.held_out)):
            digest.update(f"{name} {len(files)}".encode())
            for file in files:
                digest.update(self.contents.of(file).encode())
        return digest.hexdigest()


def split_pictures(
    folder: Path,
    *,
    share: float = 0.08,
    seed: int = 0,
    limit: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Pictures:
    """Finds the pictures below a folder and holds some out.

    Args:
        folder: Any folder of images.
        share: Held out.
        seed: Of the choice.
        limit: Most pictures used; all if None.
        progress: Called with the files checked and their total.

    Raises:
        DataError: There are fewer than 8 readable pictures.
    """
    survey = survey_folder(folder)
    files = survey.images
    order = np.random.default_rng(seed).permutation(len(files))[:limit]
    good = []
    left_out = list(survey.skipped)
    remarks = RemarkTally(option="")
    for done, index in enumerate(order, start=1):
        name = relative_id(files[index], folder)
        try:
            remarks.add(name, read_remarked(files[index], 1)[1])
            good.append(files[index])
        except ImageError as error:
            left_out.append(Skipped(id=name, reason=error.what))
        if progress is not None:
            progress(done, len(order))
    if len(good) < 8:
        raise DataError(
            f"only {many(len(good), 'picture', 'pictures')} can be read, 8 are needed"
            + (f"; {none_usable(left_out, of='others')}" if left_out else ""),
            whose=str(folder),
            fix="name a folder with more pictures; a thousand make a good sparse backbone",
            code="data/too-few",
        )
    kept = max(2, round(share * len(good)))
    return Pictures(
        train=tuple(good[kept:]),
        held_out=tuple(good[:kept]),
        unreadable=len(order) - len(good),
        notes=(*outputs_note(survey.outputs), *_in_words(left_out), *remarks.sentences()),
    )


def batches(
    files: Sequence[Path],
    preprocess: Preprocess,
    *,
    batch_size: int,
    epoch: int | None = None,
    seed: int = 0,
) -> Iterator[Tensor]:
    """(B, 3, S, S) normalised images.

    Args:
        files: Pictures, in this order.
        preprocess: Gives size and normalisation.
        batch_size: B.
        epoch: Decides the random crops and views; None for the middle square of each picture.
        seed: Decides them too.
    """
    for first in range(0, len(files), batch_size):
        piece = range(first, min(first + batch_size, len(files)))
        yield torch.stack([_tensor(files[i], preprocess, (seed, epoch, i)) for i in piece])


def half_size(preprocess: Preprocess, patch: int) -> Preprocess:
    """The same for images of about half the side, a multiple of the patch size."""
    return Preprocess.square(
        max(1, preprocess.size // 2 // patch) * patch, mean=preprocess.mean, std=preprocess.std
    )


def _tensor(file: Path, preprocess: Preprocess, key: tuple[int, int | None, int]) -> Tensor:
    picture = read_image(file)
    seed, epoch, number = key
    if epoch is None:
        return preprocess.tensor(_middle(picture))
    generator = np.random.default_rng([seed, epoch, number])
    # Flips are common in every field; quarter turns, which change what is up, are the exception.
    turned = int(generator.integers(8)) if generator.random() < 0.3 else (0, 2)[_coin(generator)]
    return view(preprocess.tensor(_crop(picture, generator)), turned)


def _coin(generator: np.random.Generator) -> int:
    return int(generator.random() < 0.5)


def _middle(picture: Image.Image) -> Image.Image:
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    return picture.crop((left, top, left + side, top + side))


def _crop(picture: Image.Image, generator: np.random.Generator) -> Image.Image:
    """A random square of 35% to 100% of the greatest one's area, in grey one time in four."""
    side = int(min(picture.size) * generator.uniform(_LEAST_AREA, 1.0) ** 0.5)
    left = int(generator.integers(picture.width - side + 1))
    top = int(generator.integers(picture.height - side + 1))
    square = picture.crop((left, top, left + side, top + side))
    return square.convert("L").convert("RGB") if generator.random() < 0.25 else square


def _in_words(left_out: Sequence[Skipped]) -> tuple[str, ...]:
    if not left_out:
        return ()
    first = left_out[0]
    told = many(len(left_out), "picture is", "pictures are")
    return (f"{told} left out, such as {first.id}: {first.reason}",)
