"""Images decoded ahead of the model, in order, with the unreadable ones set aside.

Shapes: B images or stacks, T frames of a stack, H and W rows and columns of the input.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from moekit.data.geometry import Frame
from moekit.data.images import read_frames
from moekit.data.samples import Skipped
from moekit.data.tensors import image_tensor
from moekit.errors import ImageError, UsageError

_Read = tuple[Tensor, tuple[int, int], Image.Image | None]


@dataclasses.dataclass(frozen=True, init=False)
class Preprocess:
    """How an image becomes the backbone's input.

    Args:
        frame: The input's size, and how a picture is fitted to it.
        mean: Per-channel mean.
        std: Per-channel standard deviation.
        frames: T, the frames of a sample; 1 for images.
        size: Side of a square input, in pixels; it takes the place of the frame's height and width.

    Attributes:
        frame: The input's size, and how a picture is fitted to it.
        mean: Per-channel mean.
        std: Per-channel standard deviation.
        frames: T, the frames of a sample; 1 for images.

    Raises:
        UsageError: Neither a frame nor a size is given.
    """

    frame: Frame
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    frames: int = 1

    def __init__(
        self,
        *,
        frame: Frame | None = None,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        frames: int = 1,
        size: int | None = None,
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
        object.__setattr__(self, "frame", frame)
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "std", std)
        object.__setattr__(self, "frames", frames)

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
        return self.stack(read_frames(path, self.frames))

    def stack(self, pictures: Sequence[Image.Image]) -> Tensor:
        """The RGB pictures of one sample, `frames` of them, as float32 of `shape`, normalised."""
        if self.frames == 1:
            return self.tensor(pictures[0])
        return torch.stack([self.tensor(picture) for picture in pictures])

    def tensor(self, picture: Image.Image) -> Tensor:
        """An RGB picture as (3, H, W) float32, normalised."""
        pixels: Tensor = image_tensor(picture, frame=self.frame, mean=self.mean, std=self.std)
        return pixels


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageBatch:
    """A batch as it comes from the disk.

    Attributes:
        rows: (B) positions in the sequence of inputs, in rising order.
        images: (B, 3, H, W) or, of stacks, (B, T, 3, H, W) float32, normalised; B is 0 where no
            input could be read.
        skipped: The inputs of this piece of the sequence that could not be read.
        pictures: (B) the pictures themselves, of stacks their middle frames, reduced, where they
            were asked for; else empty.
        sizes: (B) rows and columns of the pictures as they are in their files, upright.
    """

    rows: tuple[int, ...]
    images: Tensor
    skipped: tuple[Skipped, ...]
    pictures: tuple[Image.Image, ...] = ()
    sizes: tuple[tuple[int, int], ...] = ()


def image_batches(
    inputs: Sequence[tuple[str, Path]],
    preprocess: Preprocess,
    *,
    batch_size: int,
    threads: int = 2,
    pictures: int | None = None,
) -> Iterator[ImageBatch]:
    """Decodes images in threads, at most three batches ahead.

    Args:
        inputs: Id and path of each image.
        preprocess: Reads one image.
        batch_size: Inputs a batch; unreadable ones make it smaller.
        threads: Decoding threads.
        pictures: Longest side of the pictures to hand on beside the tensors; None for none.

    Yields:
        Batches in the order of `inputs`.
    """
    pieces = collections.deque(
        range(first, min(first + batch_size, len(inputs)))
        for first in range(0, len(inputs), batch_size)
    )
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        ahead: collections.deque[list[concurrent.futures.Future[_Read]]] = collections.deque()
        waiting = collections.deque(pieces)
        for piece in pieces:
            while waiting and len(ahead) < 3:
                ahead.append(
                    [
                        pool.submit(read_sample, inputs[row][1], preprocess, pictures)
                        for row in waiting.popleft()
                    ]
                )
            yield _collect(inputs, piece, ahead.popleft(), preprocess.shape)


def read_sample(
    path: Path, preprocess: Preprocess, pictures: int | None
) -> tuple[Tensor, tuple[int, int], Image.Image | None]:
    """Reads one sample and, where it is asked for, its picture.

    Args:
        path: The file.
        preprocess: How it becomes a tensor.
        pictures: Longest side of the picture to hand on beside the tensor; None for none.

    Returns:
        float32 of the preprocessing's shape, normalised; rows and columns of the image, of a stack
        those of its middle frame; and the picture, that frame, reduced, or None.

    Raises:
        ImageError: It cannot be read.
    """
    frames = read_frames(path, preprocess.frames)
    tensor = preprocess.stack(frames)
    picture = frames[len(frames) // 2]
    size = (picture.height, picture.width)
    if pictures is not None:
        picture.thumbnail((pictures, pictures))
    return tensor, size, picture if pictures is not None else None


def _collect(
    inputs: Sequence[tuple[str, Path]],
    piece: range,
    futures: list[concurrent.futures.Future[_Read]],
    shape: tuple[int, ...],
) -> ImageBatch:
    rows: list[int] = []
    images: list[Tensor] = []
    kept: list[Image.Image] = []
    sizes: list[tuple[int, int]] = []
    skipped: list[Skipped] = []
    for row, future in zip(piece, futures, strict=True):
        try:
            tensor, size, picture = future.result()
            images.append(tensor)
            sizes.append(size)
            kept += [picture] if picture is not None else []
            rows.append(row)
        except ImageError as error:
            skipped.append(Skipped(id=inputs[row][0], reason=error.what))
    return ImageBatch(
        rows=tuple(rows),
        images=torch.stack(images) if images else torch.empty(0, *shape),
        skipped=tuple(skipped),
        pictures=tuple(kept),
        sizes=tuple(sizes),
    )
