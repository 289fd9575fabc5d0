"""The real CT slices of the demonstration: four patients, one slice each.

They are test files of the packages pydicom and pydicom-data. All other CT files there are of no use
here: copies of these, maps that hold no Hounsfield units, pictures of 16 x 16 pixels, headers
without pixels, or in a form that no decoder of the kit's dependencies reads.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
from pathlib import Path

import numpy as np

from moekit import DataError
from moekit_medical.dicom.pixels import hounsfield
from moekit_medical.dicom.reading import quiet, read
from moekit_medical.dicom.slices import Slice, slices_of
from moekit_medical.dicom.sources import Source
from moekit_medical.dicom.verdict import RefusedError, SetAsideError
from moekit_medical.loaders.crops import Scan, turn_to_patient

_WITH_PYDICOM = ("pydicom", "pydicom", "data/test_files")
_WITH_DATA = ("data_store", "pydicom-data", "data")
_FILES = {
    "abdomen": ("trunk", *_WITH_DATA, "explicit_VR-UN.dcm"),
    "brain": ("head", *_WITH_DATA, "693_UNCR.dcm"),
    "chest": ("trunk", *_WITH_PYDICOM, "CT_small.dcm"),
    "skull base": ("head", *_WITH_PYDICOM, "J2K_pixelrep_mismatch.dcm"),
}
_THICKNESS_MM = 5.0
"""If a slice states none. It places nothing: each slice is used alone."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DemoSlice:
    """One slice of one patient.

    Attributes:
        name: What it shows.
        region: `head` or `trunk`.
        scan: The slice as a volume of depth 1, turned to the patient's axes.
        digest: SHA-256 of its file.
        facts: Of `Volume.facts`.
    """

    name: str
    region: str
    scan: Scan
    digest: str
    facts: dict[str, str]

    @property
    def spacing_mm(self) -> tuple[float, float]:
        """Distance of rows and of columns."""
        _, row, column = np.linalg.norm(self.scan.affine[:3, :3], axis=0)
        return float(row), float(column)


def read_slices() -> tuple[DemoSlice, ...]:
    """Reads all of them, in the order of their names.

    Raises:
        DataError: A package is not installed, or its file is another one than it was.
    """
    return tuple(read_slice(name) for name in sorted(_FILES))


def read_slice(name: str) -> DemoSlice:
    """Reads one of them.

    Raises:
        DataError: Its package is not installed, or its file cannot be used.
    """
    region, module, package, folder, file = _FILES[name]
    path = package_folder(module, package) / folder / file
    source = Source(token=file, open=lambda: path.open("rb"))
    try:
        with quiet():
            slices = slices_of(read(source, pixels=False), source)
            (hu_HW,), _ = hounsfield(slices)
        scan = turn_to_patient(hu_HW[None], _affine(slices[0]))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except (SetAsideError, RefusedError, OSError, ValueError, TypeError) as error:
        reason = getattr(error, "reason", type(error).__name__)
        raise DataError(
            f"a slice of the demonstration cannot be read ({reason})",
            whose=f"{file} of the package {package}",
            fix=f"pip install --force-reinstall {package}",
            code="data/damaged",
        ) from None
    facts = dict(slices[0].facts)
    return DemoSlice(name=name, region=region, scan=scan, digest=digest, facts=facts)


def package_folder(module: str, package: str) -> Path:
    """Where an installed package lies.

    Raises:
        DataError: It is not installed.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            "the CT slices of the demonstration are not installed",
            whose=package,
            fix=f"pip install {package}",
            code="data/not-installed",
        )
    return Path(spec.submodule_search_locations[0])


def test_files() -> Path:
    """The folder of pydicom's own test files: DICOM of many kinds, some of it odd on purpose."""
    return package_folder("pydicom", "pydicom") / "data" / "test_files"


def _affine(one: Slice) -> np.ndarray:
    """(4, 4) from (d, h, w, 1) to LPS mm (PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1)."""
    if one.position is None or one.orientation is None or one.spacing is None:
        raise ValueError("it does not say where it lies")
    along_row, along_column = np.array(one.orientation).reshape(2, 3)
    thickness = float(dict(one.facts).get("slice_thickness_mm", _THICKNESS_MM))
    affine = np.eye(4)
    affine[:3, 0] = np.cross(along_row, along_column) * thickness
    affine[:3, 1] = along_column * one.spacing[0]
    affine[:3, 2] = along_row * one.spacing[1]
    affine[:3, 3] = one.position
    return affine
