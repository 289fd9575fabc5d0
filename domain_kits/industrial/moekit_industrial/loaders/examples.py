"""Small made-up sets in the layouts of the loaders, as conformance checks need them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 32
_TRAIN, _TEST = 12, 4


def write_mvtec(folder: Path, *, good: str = "good", kind: str = "scratch") -> Path:
    """Writes two products in the layout of MVTec AD."""
    for number, product in enumerate(("bolt", "nut")):
        place = folder / product
        for index in range(_TRAIN + _TEST):
            split = "train" if index < _TRAIN else "test"
            write_image(place / split / good / f"{index:03}.png", number * 100 + index)
        for index in range(_TEST):
            write_image(place / "test" / kind / f"{index:03}.png", number * 100 + 50 + index, True)
            write_mask(place / "ground_truth" / kind / f"{index:03}_mask.png")
    return folder


def write_btad(folder: Path) -> Path:
    """Writes two products in the layout of BTAD; their masks have the names of the images."""
    write_mvtec(folder, good="ok", kind="ko")
    for mask in sorted(folder.glob("*/ground_truth/ko/*.png")):
        mask.rename(mask.with_name(mask.name.replace("_mask", "")))
    return folder


def write_visa(folder: Path) -> Path:
    """Writes one product as VisA is published."""
    lines = ["object,split,label,image,mask\n"]
    place = "candle/Data"
    for index in range(_TRAIN + _TEST):
        name = f"{place}/Images/Normal/{index:04}.JPG"
        write_image(folder / name, index)
        lines.append(f"candle,{'train' if index < _TRAIN else 'test'},normal,{name},\n")
    for index in range(_TEST):
        name, mask = (
            f"{place}/Images/Anomaly/{index:03}.JPG",
            f"{place}/Masks/Anomaly/{index:03}.png",
        )
        write_image(folder / name, 50 + index, True)
        write_mask(folder / mask)
        lines.append(f"candle,test,anomaly,{name},{mask}\n")
    (folder / "split_csv").mkdir()
    (folder / "split_csv" / "1cls.csv").write_text("".join(lines), encoding="utf-8")
    return folder


def write_kolektor(folder: Path) -> Path:
    """Writes four items of KolektorSDD, six images each; returns it with the name of its format."""
    for item in range(4):
        for part in range(6):
            place = folder / f"kos{item:02}" / f"Part{part}.jpg"
            defective = part == 5
            write_image(place, item * 10 + part, defective)
            write_mask(place.with_name(f"Part{part}_label.bmp"), empty=not defective)
    return folder.with_name(f"{folder.name}?format=kolektor")


def write_good(folder: Path) -> Path:
    """Writes good images only, some of them in a sub-folder."""
    for index in range(_TRAIN):
        write_image(folder / ("first" if index % 2 else ".") / f"{index:03}.png", index)
    return folder


def write_image(path: Path, seed: int, defective: bool = False) -> None:
    """Writes noise, with a bright square in it if it is defective."""
    pixels = np.random.default_rng(seed).integers(0, 150, (SIDE, SIDE, 3), dtype=np.uint8)
    if defective:
        pixels[8:16, 8:16] = 250
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def write_mask(path: Path, *, empty: bool = False) -> None:
    """Writes the mask of that square, or an empty one."""
    mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
    if not empty:
        mask[8:16, 8:16] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path)
