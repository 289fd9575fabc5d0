"""Images decoded ahead of the model, in order, with the unreadable ones set aside.

Shapes: B images or stacks, T frames of a stack, H and W rows and columns of the input.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from moekit.data.content import Contents, content_of_frames
from moekit.data.geometry import Box, Frame, Size
from moekit.data.images import Pages, read_remarked
from moekit.data.pictures import reduced
from moekit.data.remarks import Remark
from moekit.data.samples import Skipped
from moekit.data.sizes import header_size
from moekit.data.tensors import image_tensor
from moekit.data.windows import Tiling, together
from moekit.errors import ImageError, UsageError

Stack = Sequence[Image.Image]
"""The RGB pictures of one sample, of one size: one, or the frames of a stack."""
_AHEAD = 3
_HELD = 4
"""Decoded files that are held, since the next window is probably of one of them."""


@dataclasses.dataclass(frozen=True, init=False)
class Preprocess:
    """How an image becomes the backbone's input.

    Args:
        frame: The input's size, and how a picture is fitted to it.
        mean: Per-channel mean.
        std: Per-channel standard deviation.
        frames: T, the frames of a sample; 1 for images.
        size: Side of a square input, in pixels; it takes the place of the frame's height and width.
        tiling: How pictures are cut that are larger than a window; None if none is cut.
        bits: Bits of the numbers in files of more than 8 bits; see `read_frames`.

    Attributes:
        frame: The input's size, and how a picture or a window of it is fitted to it.
        mean: Per-channel mean.
        std: Per-channel standard deviation.
        frames: T, the frames of a sample; 1 for images.
        tiling: How pictures are cut that are larger than a window; None if none is cut.
        bits: Bits of the numbers in files of more than 8 bits; None if they fill 16.

    Raises:
        UsageError: Neither a frame nor a size is given.
    """

    frame: Frame
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    frames: int = 1
    tiling: Tiling | None = None
    bits: int | None = None

    def __init__(
        self,
        *,
        frame: Frame | None = None,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        frames: int = 1,
        size: int | None = None,
        tiling: Tiling | None = None,
        bits: int | None = None,
    ) -> None:
        if size is not None:
            fit = "squash" if frame is None else frame.fit
            frame = Frame(height=size, width=size, fit=fit)
        if frame is None:
            raise UsageError(
                "it has no size",
                whose="Preprocess",
                fix="give frame=, or size=",
                code="usage/no-size",
            )
        known = {"frame": frame, "mean": mean, "std": std, "frames": frames}
        for name, value in {**known, "tiling": tiling, "bits": bits}.items():
            object.__setattr__(self, name, value)

    @classmethod
    def square(
        cls,
        size: int,
        *,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        frames: int = 1,
    ) -> Preprocess:
        """For square inputs of `size` pixels a side, over which pictures are stretched."""
        return cls(frame=Frame(height=size, width=size), mean=mean, std=std, frames=frames)

    @property
    def size(self) -> int:
        """Side of the square input, in pixels.

        Raises:
            UsageError: The input is no square.
        """
        if self.frame.height != self.frame.width:
            raise UsageError(
                f"the input is a rectangle of {self.frame.height} x {self.frame.width} pixels",
                whose="Preprocess.size",
                fix="use Preprocess.frame, or a square input",
                code="usage/not-square",
            )
        return self.frame.height

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample: (3, H, W), or (T, 3, H, W) of a stack."""
        image = (3, self.frame.height, self.frame.width)
        return image if self.frames == 1 else (self.frames, *image)

    def __call__(self, path: Path) -> Tensor:
        """Reads one sample: float32 of `shape`, normalised.

        Raises:
            ImageError: It cannot be read, or has another number of frames.
        """
        return self.stack(self.read(path)[0])

    def read(self, path: Path) -> tuple[Pages, tuple[Remark, ...]]:
        """The RGB pictures of one sample, and what was guessed of its file."""
        return read_remarked(path, self.frames, bits=self.bits)

    def stack(self, pictures: Sequence[Image.Image]) -> Tensor:
        """The RGB pictures of one sample, `frames` of them, as float32 of `shape`, normalised."""
        tensors = [self.tensor(picture) for picture in pictures]
        return tensors[0] if self.frames == 1 else torch.stack(tensors)

    def cuts(self, size: Size) -> bool:
        """Whether a picture of `size` (H, W) is cut into windows."""
        return self.tiling is not None and self.tiling.cuts(size)

    def tensor(self, picture: Image.Image) -> Tensor:
        """An RGB picture as (3, H, W) float32, normalised."""
        pixels: Tensor = image_tensor(picture, frame=self.frame, mean=self.mean, std=self.std)
        return pixels


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadSample:
    """A sample as it comes from the disk.

    Attributes:
        tensor: float32 of the preprocessing's shape, normalised; None if the picture is to be cut.
        size: Rows and columns of the picture, upright.
        picture: The picture, of stacks the middle frame, reduced; None if it was not asked for.
        stack: The pictures themselves if they are to be cut; else empty.
        remarks: What was guessed or left out when the file was read.
        content: The hash of what it was made from, if it was asked for.
    """

    tensor: Tensor | None
    size: Size
    picture: Image.Image | None = None
    stack: Stack = ()
    remarks: tuple[Remark, ...] = ()
    content: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageBatch:
    """A batch as it comes from the disk: pictures that fit a window, or one that is to be cut.

    Attributes:
        rows: (B) positions in the sequence of inputs, in rising order.
        images: (B, 3, H, W) or, of stacks, (B, T, 3, H, W) float32, normalised, without those that
            are to be cut; B is 0 if there are no others, or no input could be read.
        skipped: The inputs of this piece of the sequence that could not be read.
        pictures: (B) the pictures themselves, of stacks their middle frames, reduced, if they
            were asked for; else empty.
        sizes: (B) rows and columns of the pictures as they are in their files, upright.
        stacks: (B) the pictures that are to be cut, each empty for an input that is among `images`.
        remarks: (B) what was guessed or left out when each file was read; empty if nothing was.
        contents: By row, the hash of what the input was made from, if it was asked for; of those
            that could not be read too, as far as their file could be.
    """

    rows: tuple[int, ...]
    images: Tensor
    skipped: tuple[Skipped, ...]
    pictures: tuple[Image.Image, ...] = ()
    sizes: tuple[Size, ...] = ()
    stacks: tuple[Stack, ...] = ()
    remarks: tuple[tuple[Remark, ...], ...] = ()
    contents: Mapping[int, str] = dataclasses.field(default_factory=dict)


def image_batches(
    inputs: Sequence[tuple[str, Path]],
    preprocess: Preprocess,
    *,
    batch_size: int,
    threads: int = 2,
    pictures: int | None = None,
    windows: Sequence[Box | None] = (),
    contents: Contents | None = None,
) -> Iterator[ImageBatch]:
    """Decodes images in threads, at most three batches ahead.

    Args:
        inputs: Id and path of each image.
        preprocess: Reads one image.
        batch_size: Inputs a batch; unreadable ones make it smaller. An image that is to be cut has
            a batch of its own.
        threads: Decoding threads.
        pictures: Longest side of the pictures to hand on next to the tensors; None for none.
        windows: The part of each image that is taken, None for all of it; empty for all of each.
        contents: Hashes the files; None if the batches need not say what they were made from.

    Yields:
        Batches in the order of `inputs`.
    """
    sizes = (None if preprocess.tiling is None else header_size(path) for _, path in inputs)
    pieces = together(sizes, batch_size, preprocess.tiling)
    boxes = windows or [None] * len(inputs)
    load = functools.lru_cache(_HELD)(preprocess.read) if any(boxes) else preprocess.read

    def read(row: int) -> ReadSample:
        path, box = inputs[row][1], boxes[row]
        if contents is None:
            (frames, remarks), content = load(path), ""
        else:
            (frames, remarks), content = contents.read(path, lambda: load(path))
        stack = frames if box is None else cropped(frames, box)
        made = prepare(stack, preprocess, pictures, content=content)
        return dataclasses.replace(made, remarks=remarks)

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        started = ((piece, [pool.submit(read, row) for row in piece]) for piece in pieces)
        ahead = collections.deque(itertools.islice(started, _AHEAD))
        while ahead:
            piece, futures = ahead.popleft()
            found: list[ReadSample | str] = []
            for future in futures:
                try:
                    found.append(future.result())
                except ImageError as error:
                    found.append(error.what)
            batch = batch_of([inputs[row][0] for row in piece], piece, found, preprocess)
            if contents is not None:
                read_or_not = zip(piece, found, strict=True)
                unread = [row for row, one in read_or_not if isinstance(one, str)]
                known = {row: contents.of(inputs[row][1]) for row in unread}
                batch = dataclasses.replace(batch, contents={**batch.contents, **known})
            yield batch
            ahead.extend(itertools.islice(started, 1))


def item_batches(
    items: Iterable[tuple[str, Stack | ImageError]],
    preprocess: Preprocess,
    *,
    batch_size: int,
    pictures: int | None = None,
) -> Iterator[ImageBatch]:
    """Batches of items that are decoded already, read no further ahead than one batch.

    They say what each item was made from: its pixels.

    Args:
        items: Name and RGB frames of each, or why it cannot be read.
        preprocess: Makes the tensors.
        batch_size: Items a batch; one that is to be cut has a batch of its own.
        pictures: As of `image_batches`.

    Raises:
        UsageError: An item has another number of frames than the run was trained with.
    """
    rows: list[int] = []
    ids: list[str] = []
    found: list[ReadSample | str] = []

    def flushed() -> Iterator[ImageBatch]:
        if rows:
            yield batch_of(ids, rows, found, preprocess)
        for part in (rows, ids, found):
            part.clear()

    for row, (name, frames) in enumerate(items):
        if isinstance(frames, ImageError):
            one: ReadSample | str = frames.what
        else:
            check_frames(len(frames), preprocess)
            content = content_of_frames(frames)
            one = prepare(frames, preprocess, pictures, content=content)
        alone = isinstance(one, ReadSample) and one.tensor is None
        if alone:
            yield from flushed()
        rows.append(row)
        ids.append(name)
        found.append(one)
        if alone or len(rows) == batch_size:
            yield from flushed()
    yield from flushed()


def check_frames(count: int, preprocess: Preprocess) -> None:
    """Refuses an item with another number of frames than the run was made with.

    Raises:
        UsageError: It has.
    """
    if count != preprocess.frames:
        raise UsageError(
            f"stacks of {count} were given, the run was made with stacks of {preprocess.frames}",
            whose="the pictures",
            fix="give stacks of as many pictures as the run was made with, or another run",
            code="usage/frame-count",
        )


def read_sample(
    path: Path, preprocess: Preprocess, pictures: int | None, *, contents: Contents | None = None
) -> ReadSample:
    """Reads one sample and, if it is asked for, its picture.

    Args:
        path: The file.
        preprocess: How it becomes a tensor.
        pictures: Longest side of the picture to hand on next to the tensor; None for none.
        contents: Hashes the file; None if the sample need not say what it was made from.

    Raises:
        ImageError: It cannot be read.
    """
    if contents is None:
        (frames, remarks), content = preprocess.read(path), ""
    else:
        (frames, remarks), content = contents.read(path, lambda: preprocess.read(path))
    made = prepare(frames, preprocess, pictures, content=content)
    return dataclasses.replace(made, remarks=remarks)


def prepare(
    frames: Stack, preprocess: Preprocess, pictures: int | None, *, content: str = ""
) -> ReadSample:
    """Makes a sample of its RGB pictures; see `read_sample`."""
    middle = frames[len(frames) // 2]
    size = (middle.height, middle.width)
    cut = preprocess.cuts(size)
    tensor = None if cut else preprocess.stack(frames)
    picture = None if pictures is None else reduced(middle, pictures)
    return ReadSample(
        tensor=tensor, size=size, picture=picture, stack=frames if cut else (), content=content
    )


def cropped(frames: Stack, box: Box) -> Stack:
    """The same window of each picture of a stack."""
    corners = (box.left, box.top, box.left + box.width, box.top + box.height)
    return [frame.crop(corners) for frame in frames]


def batch_of(
    ids: Sequence[str],
    rows: Sequence[int],
    found: Sequence[ReadSample | str],
    preprocess: Preprocess,
) -> ImageBatch:
    """Puts samples together.

    Args:
        ids: Of the samples.
        rows: Their positions among all.
        found: Each sample, or why it cannot be read.
        preprocess: How they were read.
    """
    read = [(row, one) for row, one in zip(rows, found, strict=True) if not isinstance(one, str)]
    images = [one.tensor for _, one in read if one.tensor is not None]
    return ImageBatch(
        rows=tuple(row for row, _ in read),
        images=torch.stack(images) if images else torch.empty(0, *preprocess.shape),
        skipped=tuple(
            Skipped(id=name, reason=one)
            for name, one in zip(ids, found, strict=True)
            if isinstance(one, str)
        ),
        pictures=tuple(one.picture for _, one in read if one.picture is not None),
        sizes=tuple(one.size for _, one in read),
        stacks=tuple(one.stack for _, one in read),
        remarks=tuple(one.remarks for _, one in read),
        contents={row: one.content for row, one in read if one.content},
    )
