"""The sets of images that anomalib knows, each with the layout or table that it is read by.

| `format` | anomalib's class | masks |
| --- | --- | --- |
| `autovi` | AutoVI | a folder of parts an image |
| `btech` | BTech | one an image |
| `kolektor` | Kolektor | one an image, good or not |
| `mpdd` | MPDD | one an image |
| `mvtecad` | MVTecAD | one an image |
| `mvtecad2` | MVTecAD2 | one an image of the public test split; the private ones are not read |
| `mvtec_loco` | MVTecLOCO | a folder of parts an image |
| `realiad` | RealIAD | one an image |
| `vad` | VAD | none needed |
| `visa` | Visa | one an image |

anomalib's code that downloads is never called. Left out are BMAD (not of inspection), Kaputt (its
tables need pyarrow), Datumaro (a label's number says nothing certain) and Tabular and Folder, whose
job `folder=PATH` and `good=PATH` do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

from moekit_industrial.loaders.layout import Layout
from moekit_industrial.loaders.rows import Product
from moekit_industrial.loaders.tables import read_kolektor, read_realiad

Reader = Callable[[Path, str | None, Mapping[str, str]], list[Product]]
_NC = "CC-BY-NC-SA-4.0"
_PARTS = {"train": "train", "validation": "val", "test": "test"}
_PARTS_2 = {"train": "train", "validation": "val", "test_public": "test"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Format:
    """One set.

    Attributes:
        downloader: anomalib's class, whose `prepare_data` downloads it or says where to get it.
        citation: Whose it is.
        licence: As of a data set.
        reads: The layout of its products, or what reads them.
        options: Options that this set takes next to those that all take.
        caution: As of a data set.
    """

    downloader: str
    citation: str
    reads: Layout | Reader
    licence: str = _NC
    options: tuple[str, ...] = ()
    caution: str = ""


FORMATS: Mapping[str, Format] = {
    "autovi": Format(
        downloader="AutoVI",
        citation="Carvalho et al. 2024",
        reads=Layout(function="autovi:make_autovi_dataset"),
    ),
    "btech": Format(
        downloader="BTech",
        citation="Mishra et al. 2021",
        reads=Layout(function="btech:make_btech_dataset", suffixes=False, good="ok"),
    ),
    "kolektor": Format(
        downloader="Kolektor",
        citation="Tabernik et al. 2020",
        reads=read_kolektor,
        caution="Images of one item may lie in train and test: anomalib splits them by image.",
    ),
    "mpdd": Format(
        downloader="MPDD",
        citation="Jezek et al. 2021",
        reads=Layout(function="mpdd:make_mpdd_dataset"),
    ),
    "mvtecad": Format(
        downloader="MVTecAD",
        citation="Bergmann et al. 2019, 2021",
        reads=Layout(function="mvtecad:make_mvtec_ad_dataset"),
    ),
    "mvtecad2": Format(
        downloader="MVTecAD2",
        citation="Heckler-Kram et al. 2025",
        reads=Layout(
            function="mvtecad2:make_mvtec2_dataset",
            splits=_PARTS_2,
            truth="test_public/ground_truth",
            ignored=("test_private", "test_private_mixed"),
        ),
    ),
    "mvtec_loco": Format(
        downloader="MVTecLOCO",
        citation="Bergmann et al. 2022",
        reads=Layout(function="mvtec_loco:make_dataset", splits=_PARTS),
        caution="Masks of logical defects show places where something may be missing.",
    ),
    "realiad": Format(
        downloader="RealIAD",
        citation="Wang et al. 2024",
        reads=read_realiad,
        options=("resolution", "json"),
    ),
    "vad": Format(
        downloader="VAD",
        citation="Baitieva et al. 2024",
        reads=Layout(function="vad:make_vad_dataset"),
    ),
    "visa": Format(
        downloader="Visa",
        citation="Zou et al. 2022",
        reads=Layout(function="mvtecad:make_mvtec_ad_dataset"),
    ),
}
