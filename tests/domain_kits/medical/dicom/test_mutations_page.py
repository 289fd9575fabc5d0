"""What becomes of a mutated CT series, in moekit and in MONAI's reader: the page holds that.

`MOEKIT_WRITE_PAGES=1 python -m pytest tests/domain_kits/medical/dicom/test_mutations_page.py`
writes the page again, except its second part if there is no folder `shared`.

Both readers are judged alike: by the places and values of the slices that were written.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import os
import re
import warnings
from pathlib import Path

import monai
import numpy as np
import pydicom
import pytest
from dicom_series import MUTATIONS, PATIENT, SLICES, file_of, save, write_series
from monai.transforms import LoadImage
from pydicom.pixels import get_decoder
from pydicom.uid import JPEGLosslessSV1
from scipy.ndimage import map_coordinates

from moekit_medical.dicom.assemble import assemble
from moekit_medical.dicom.lossless import register

PAGE = Path(__file__).parents[4] / "domain_kits" / "medical" / "MUTATIONS.md"
SECOND = "## The same done to a scanner's series\n"
SALT = b"a secret of the tests"
LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
HU, VOXEL = 0.5, 0.02
"""Within these a value and a place count as the true ones."""

HEAD = f"""# What becomes of a CT series that is not as it should be

Each row is one thing done to a sound series of {SLICES} slices, what moekit makes of the files, and
what MONAI {monai.__version__} makes of the same files, asked as
`LoadImage(reader="PydicomReader", image_only=False)` on the folder. A test
(`tests/domain_kits/medical/dicom/test_mutations_page.py`) does and measures all of it and writes
this page; it fails where the page says otherwise, and where moekit takes a series as it is (ok)
and its volume is not right.

Both are judged alike. A slice is in place if the volume, read through its affine, has within
{HU} HU the true value at each place where a voxel of that slice lies. A volume is **right** if
every slice is in place, those missing between others too, and none is added. Padding is right if it
is -1000 HU or less. Slices missing at the end are not asked for. **Wrong without a word** is a
volume that is not right, returned without an exception or a warning. **As before** is the volume of
the sound series, from files that contradict themselves or lack what it takes to know it, so that
moekit refuses them. **Mended** is a volume of which moekit's words say that it was changed. In
brackets: slices in place, and the mean absolute difference of the values if there is one.

## Done to a synthetic series

The values of this one change by 10 HU from slice to slice, 3 from row to row and 2 from column to
column, so that interpolation is exact and the differences are small.

"""
COLUMNS = """| what was done | moekit | its words | its volume | MONAI's reader |
| --- | --- | --- | --- | --- |
"""
SECOND_HEAD = f"""{SECOND}
{SLICES} slices of the chest of the first lung patient of the Image Biomarker Standardisation
Initiative, 3 mm apart, cut to 64 x 64 voxels. A slice that was missing and is interpolated is not
in place here: no reader can know it.

"""

MOVED = {
    "one dropped of thick slices",
    "spacing varies within tolerance",
    "spacing varies a little",
    "spacing varies much",
    "spacing varies and is wide",
    "gantry tilt",
    "tilt beyond any gantry",
    "zigzag",
    "sagittal",
    "oblique",
}
"""Mutations that move slices truly: their headers say where the voxels are."""

LOST = {
    "last dropped": {7},
    "two slices left": set(range(2, SLICES)),
}
"""Slices at the end that the files no longer hold."""

TIED = {"one copied with other voxels"}
"""Slices of one InstanceNumber and other voxels: MONAI takes them as the file system lists them."""

ON_THE_SCANNERS = """
untouched, names shuffled, instance numbers reversed, nested folders without extension, zipped,
zero byte file, text file among them, run length encoded, monochrome1, truncated file, no pixel
data, compressed garbage, absurd rows, one dropped, last dropped, two neighbours dropped, two
copied, spacing varies a little, spacing varies much, gantry tilt, zigzag, sagittal, no pixel
spacing, one without position, one without orientation, no rescale intercept, two patients, wrong
modality
"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Truth:
    """Where the voxels of one slice are, (H, W, 3) LPS mm, and their values, (H, W) HU."""

    place_HW3: np.ndarray
    hu_HW: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class Judged:
    """A volume held against the truth.

    Attributes:
        in_place: Slices in place.
        asked: Slices asked for.
        added: Slices more than those asked for, or beyond the first or the last of them.
        off_hu: Mean absolute difference of the values at the places that the volume covers.
    """

    in_place: int
    asked: int
    added: int
    off_hu: float

    @property
    def right(self) -> bool:
        return self.in_place == self.asked and not self.added

    def __str__(self) -> str:
        more = f", {self.added} added" if self.added and self.in_place else ""
        off = f", off by {self.off_hu:.1f} HU" if self.off_hu >= 0.05 and not self.right else ""
        return f"({self.in_place} of {self.asked}{more}{off})"


def true_slice(dataset, hu_HW):
    """A slice with the places that its own header states (DICOM PS3.3 C.7.6.2.1.1)."""
    row, column = np.reshape(dataset.ImageOrientationPatient, (2, 3)).astype(float)
    h, w = np.indices(hu_HW.shape)[..., None]
    down, across = (float(value) for value in dataset.PixelSpacing)
    origin = np.array(dataset.ImagePositionPatient, dtype=float)
    return Truth(place_HW3=origin + h * down * column + w * across * row, hu_HW=hu_HW)


def read_truth(folder):
    """The slices of an unmutated series, by SOPInstanceUID, without any reader of volumes."""
    sets = [pydicom.dcmread(file_of(folder, index)) for index in range(SLICES)]
    return {
        one.SOPInstanceUID: true_slice(
            one, one.pixel_array * float(one.RescaleSlope) + float(one.RescaleIntercept)
        )
        for one in sets
    }


def asked_of(name, before, folder):
    """The slices that a volume of the mutated files must hold."""
    if name == "two matrices in one series":
        return list(read_truth(folder).values())
    after = dict(before)
    if name in MOVED:
        for path in folder.iterdir():
            one = pydicom.dcmread(path)
            after[one.SOPInstanceUID] = true_slice(one, before[one.SOPInstanceUID].hu_HW)
    if name == "one dropped of thick slices":
        shift = np.array([0, 0, 4 * 4 - 4 * 2.5])
        (gone,) = [key for key in before if after[key] is before[key]]
        place = before[gone].place_HW3 + shift
        after[gone] = Truth(place_HW3=place, hu_HW=before[gone].hu_HW)
    return [one for index, one in enumerate(after.values()) if index not in LOST.get(name, ())]


def judge(volumes, asked, *, padded):
    """Holds volumes, each with its affine to LPS and the axis of its slices, against the truth."""
    in_place, off = 0, []
    for truth in asked:
        off_HW = min((differences(*one[:2], truth, padded) for one in volumes), key=worst)
        in_place += worst(off_HW) <= HU
        off.extend(off_HW[np.isfinite(off_HW)])
    return Judged(
        in_place=in_place,
        asked=len(asked),
        added=sum(added(*one, asked) for one in volumes),
        off_hu=float(np.mean(off)) if off else np.nan,
    )


def worst(off_HW):
    return float(off_HW.max())


def differences(volume, affine, truth, padded):
    """(H, W) HU by which a volume is off where the voxels of a slice lie, inf outside of it."""
    outside_HW = np.full(truth.hu_HW.shape, np.inf)
    if volume.ndim != 3:
        return outside_HW
    inverse = np.linalg.pinv(affine)
    index = truth.place_HW3 @ inverse[:3, :3].T + inverse[:3, 3]
    nearest = np.rint(index)
    index = np.where(np.abs(index - nearest) < VOXEL, nearest, index)
    inside_HW = ((index >= 0) & (index <= np.subtract(volume.shape, 1))).all(axis=-1)
    found_HW = map_coordinates(volume.astype(float), np.moveaxis(index, -1, 0), order=1)
    off_HW = np.where(inside_HW, np.abs(found_HW - truth.hu_HW), outside_HW)
    if padded:
        off_HW[:, 0] = np.maximum(found_HW[:, 0] + 1000, 0)
    return off_HW


def added(volume, affine, axis, asked):
    """Slices of a volume more than those asked for, or beyond the first or the last of them."""
    if volume.ndim != 3:
        return 0
    corners = [one.place_HW3[0, 0] for one in asked]
    normal = np.cross(*(asked[0].place_HW3[move] - corners[0] for move in ((0, 1), (1, 0))))
    normal /= np.linalg.norm(normal)
    low, high = min(corners @ normal), max(corners @ normal)
    index = np.zeros((volume.shape[axis], 3))
    index[:, axis] = np.arange(volume.shape[axis])
    height = (index @ affine[:3, :3].T + affine[:3, 3]) @ normal
    beyond = int(((height < low - 0.1) | (height > high + 0.1)).sum())
    return max(beyond, len(height) - len(asked))


def moekit_cells(folder, asked, padded):
    """The verdict, its words and what its volumes hold; and whether all is as it must be."""
    assembly = assemble(folder, salt=SALT)
    verdict = [name for name, many in assembly.verdicts.items() for _ in range(many)]
    said = [*itertools.chain(*(volume.repairs for volume in assembly.volumes))]
    said += [refusal.reason for refusal in assembly.refused]
    left = collections.Counter(one.reason for one in assembly.ignored)
    said += [
        f"ignored: {reason}" + f" ({many} files)" * (many > 1) for reason, many in left.items()
    ]
    volumes = [(one.hu_DHW, one.affine, 0) for one in assembly.volumes]
    if not volumes:
        return [", ".join(verdict), "; ".join(said), ""], True
    judged = judge(volumes, asked, padded=padded)
    word = "right" if judged.right else "mended"
    cells = [", ".join(verdict), "; ".join(said), f"{word} {judged}"]
    return cells, judged.right or "repaired" in verdict


def monai_cell(folder, asked, padded, doubtful, tied):
    """The outcome in few words, and the cell with more of them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it says of decoders that are not installed
        load = LoadImage(reader="PydicomReader", image_only=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            image, meta = load(folder)
        except Exception as error:
            return "refused", f"refused: {first_line(error, folder)}"
    word = "with a warning" if caught else "without a word"
    affine = LPS_FROM_RAS @ np.asarray(meta["affine"], dtype=float)
    judged = judge([(np.asarray(image), affine, 2)], asked, padded=padded)
    if judged.right:
        outcome = f"as before, {word}" if doubtful else "right"
        return outcome, f"{outcome} {judged}"
    shape = " x ".join(str(length) for length in image.shape)
    told = "(by the order of the file system)" if tied else str(judged)
    return f"wrong {word}", f"**wrong {word}** {told}: {shape} voxels"


def first_line(error, folder):
    """An exception in one line; where MONAI tried several readers, what the first one said."""
    said = next(iter(str(error).splitlines()), "")
    inner = re.search(r"^(?:[\w.]+\.)?(\w*(?:Error|Exception)\w*)(?:: (.*))?$", str(error), re.M)
    if "cannot find a suitable reader" in said and inner:
        said = f"no suitable reader ({inner[1]}{': ' + inner[2] if inner[2] else ''})"
    said = re.sub(rf"[\"']?{re.escape(str(folder))}[^\s\"')]*[\"']?", "(a path)", said)
    said = re.sub(r"(maximum recursion depth exceeded)[\w ]*", r"\1", said)
    said = re.sub(r"\d+(\.\d+){4,}", "(a UID)", said)
    return f"{type(error).__name__}: {said}".rstrip(": ")


def measure(rows, write, tmp_path):
    """The table of rows, its summary, and the names of rows where moekit is silently wrong."""
    register()
    if get_decoder(JPEGLosslessSV1).available_plugins != ("moekit_medical",):
        pytest.skip("the page is of the decoder for JPEG Lossless that comes with the kit")
    write(tmp_path / "before")
    before = read_truth(tmp_path / "before")
    lines, silent = [], []
    verdicts, outcomes = collections.Counter(), collections.Counter()
    for row in rows:
        folder = tmp_path / row.name.replace(" ", "_")
        write(folder)
        row.apply(folder)
        asked, padded = asked_of(row.name, before, folder), row.name.startswith("padding")
        cells, sound = moekit_cells(folder, asked, padded)
        if not sound:
            silent.append(row.name)
        doubtful = cells[0] == "refused" and row.name not in {*MOVED, *LOST}
        outcome, cell = monai_cell(folder, asked, padded, doubtful, row.name in TIED)
        outcomes[outcome] += 1
        verdicts[cells[0].replace(", ", " and ")] += 1
        text = "\n".join(clean(cell) for cell in (row.name, *cells, cell))
        lines.append("| " + text.replace("\n", " | ") + " |\n")
    total = (
        f"{len(rows)} mutations. moekit: {listed(verdicts)}. MONAI's reader: {listed(outcomes)}."
    )
    return f"{COLUMNS}{''.join(lines)}\n{total}\n", silent


def listed(counts):
    return "; ".join(f"{many} {outcome}" for outcome, many in sorted(counts.items()))


def clean(text):
    text = re.sub(r"\b[0-9a-f]{12}\b", "(token)", text)
    return " ".join(text.split()).replace("|", "\\|")


def parts_of_the_page():
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    first, mark, second = text.partition(SECOND)
    return first, mark + second


def hold(part, text):
    """Compares one part of the page with what was measured, or writes it."""
    parts = list(parts_of_the_page())
    if os.environ.get("MOEKIT_WRITE_PAGES"):
        parts[part] = text
        PAGE.write_text("".join(parts), encoding="utf-8")
    assert parts_of_the_page()[part] == text


def write_scanner_series(folder, source):
    """The slices in the middle of a scanner's series, sorted by height, cut to 64 x 64."""
    sets = [pydicom.dcmread(path, stop_before_pixels=True) for path in source.glob("*.dcm")]
    sets.sort(key=lambda one: float(one.ImagePositionPatient[2]))
    folder.mkdir()
    middle = len(sets) // 2 - SLICES // 2
    for index, header in enumerate(sets[middle : middle + SLICES]):
        one = pydicom.dcmread(header.filename)
        values = one.pixel_array[60:124, 40:104]
        corner = np.array([40, 60]) * np.array(one.PixelSpacing, dtype=float)[::-1]
        x, y, z = (float(value) for value in one.ImagePositionPatient)
        one.ImagePositionPatient = [f"{x + corner[0]:.6f}", f"{y + corner[1]:.6f}", f"{z:.6f}"]
        one.Rows, one.Columns, one.PixelData = 64, 64, np.ascontiguousarray(values).tobytes()
        save(one, file_of(folder, index))


def test_the_page_says_what_becomes_of_a_synthetic_series(tmp_path):
    table, silent = measure(MUTATIONS, write_series, tmp_path)
    assert not silent, "moekit takes as they are series that it does not read right"
    hold(0, f"{HEAD}{table}\n")
    assert len(MUTATIONS) >= 30


def test_the_page_says_what_becomes_of_a_scanners_series(shared, tmp_path):
    source = shared / "data" / "lung_ct_dicom" / "ibsi_lung_pat1" / "ct"
    names = " ".join(ON_THE_SCANNERS.split()).split(", ")
    rows = [row for row in MUTATIONS if row.name in names]
    assert len(rows) == len(names) >= 20
    table, silent = measure(rows, lambda folder: write_scanner_series(folder, source), tmp_path)
    assert not silent, "moekit takes as they are series that it does not read right"
    hold(1, SECOND_HEAD + table)


def test_a_volume_with_slices_exchanged_moved_or_added_is_not_right(series):
    asked = list(read_truth(series).values())
    (volume,) = assemble(series, salt=SALT).volumes
    hu, affine = volume.hu_DHW, volume.affine
    moved = affine + np.outer([0, 0, 0.2, 0], [0, 0, 0, 1])
    wider = affine @ np.diag([1, 1, 1.1, 1])
    for values, place in (
        (hu[[0, 1, 3, 2, 4, 5, 6, 7]], affine),
        (hu[:, ::-1], affine),
        (hu[[0, 1, 2, 3, 4, 5, 6, 7, 7]], affine),
        (hu[:7], affine),
        (hu + 1, affine),
        (hu, moved),
        (hu, wider),
    ):
        assert not judge([(values, place, 0)], asked, padded=False).right
    assert judge([(hu, affine, 0)], asked, padded=False).right
    assert judge([(hu, moved, 0)], asked, padded=False).in_place == 0


def test_the_page_names_no_patient_no_path_and_no_uid():
    page = "".join(parts_of_the_page())
    assert page.count("\n| ") >= 60
    assert not [secret for secret in (*PATIENT.values(), "MRN", "/tmp", ".dcm") if secret in page]
    assert not re.search(r"\d+(\.\d+){4,}", page)
