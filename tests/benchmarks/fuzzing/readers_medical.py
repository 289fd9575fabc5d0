"""Readers of the medical kit below its loaders: series, volumes, masks, copies without names."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from moekit.errors import DataError
from moekit_medical.deidentification.run import deidentify_files
from moekit_medical.dicom.assemble import assemble
from moekit_medical.findings.seg import build_segmentation, read_segmentation
from moekit_medical.findings.sources import write_dicom
from moekit_medical.inference.inputs import read_inputs
from moekit_medical.loaders.lesions import load_lesions
from moekit_medical.volume import Volume
from tests.benchmarks.fuzzing.reader import Reader, put
from tests.domain_kits.medical.dicom.dicom_series import write_series
from tests.domain_kits.medical.findings.conftest import make_slice as make_whole_slice
from tests.domain_kits.medical.findings.conftest import volume_of

SALT = b"a salt for the fuzzing"


def _series(folder: Path) -> None:
    write_series(folder)


def _zip(folder: Path) -> None:
    write_series(folder / "made")
    with zipfile.ZipFile(folder / "series.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((folder / "made").iterdir()):
            archive.write(path, path.name)
    shutil.rmtree(folder / "made")


def _other_syntaxes(folder: Path) -> None:
    """The series in other encodings, one a file; compressed ones as far as pydicom makes them."""
    syntaxes = [
        pydicom.uid.ImplicitVRLittleEndian,
        pydicom.uid.ExplicitVRBigEndian,
        pydicom.uid.DeflatedExplicitVRLittleEndian,
        pydicom.uid.RLELossless,
    ]
    for number, syntax in enumerate(syntaxes):
        for index in range(2):
            dataset = make_whole_slice(2 * number + index)
            if syntax == pydicom.uid.RLELossless:
                dataset.compress(syntax)
            if not syntax.is_little_endian:
                swapped = np.frombuffer(dataset.PixelData, np.uint16).byteswap()
                dataset.PixelData = swapped.tobytes()
            dataset.file_meta.TransferSyntaxUID = syntax
            dataset.save_as(folder / f"{number}{index}.bin", enforce_file_format=True)


def _assemble(folder: Path, _: Any) -> str:
    assembly = assemble(folder, salt=SALT)
    for volume in assembly.volumes:
        assert np.isfinite(volume.hu_DHW).all(), "values that are not finite"
        assert np.isfinite(volume.affine).all(), "a place that is not finite"
    told = [f"{name}: {count}" for name, count in assembly.verdicts.items() if count]
    return f"series {', '.join(told).replace(': 1', '') or 'set aside'}"[:60]


def _volume(folder: Path) -> None:
    from nibabel.nifti1 import Nifti1Image
    from nibabel.nifti2 import Nifti2Image

    values = np.random.default_rng(0).integers(-1000, 400, (8, 9, 10)).astype(np.int16)
    ras = np.diag([-0.7, -0.8, 2.5, 1.0])
    Nifti1Image(values, ras).to_filename(folder / "a.nii")
    Nifti2Image(values, ras).to_filename(folder / "b.nii")
    scaled = Nifti1Image(values.astype(np.float32), ras)
    scaled.to_filename(folder / "c.nii.gz")


def _read_volumes(folder: Path, _: Any) -> None:
    lost = []
    for name in ("a.nii", "b.nii", "c.nii.gz"):
        try:
            assembly, _series = read_inputs(folder / name, salt=SALT, progress=lambda *_: None)
            for volume in assembly.volumes:
                assert np.isfinite(volume.hu_DHW).all(), "values that are not finite"
        except DataError as error:
            lost.append(error)
    if lost:
        raise lost[0]


def _seg(folder: Path) -> Volume:
    slices = [make_whole_slice(index) for index in range(8)]
    volume = volume_of(slices)
    mask_DHW = np.zeros(volume.hu_DHW.shape, dtype=bool)
    mask_DHW[2:5, 3:9, 5:8] = True
    write_dicom(folder / "seg.dcm", build_segmentation(mask_DHW, volume, slices))
    return volume


def _read_seg(folder: Path, volume: Volume) -> None:
    read_segmentation(folder / "seg.dcm", volume)


def _lesion_seg(folder: Path) -> None:
    """Three series, each with a segmentation."""
    for patient in range(3):
        place = folder / str(patient)
        place.mkdir()
        slices = []
        for index in range(8):
            one = make_whole_slice(index)
            values = np.frombuffer(one.PixelData, np.uint16) + np.uint16(patient)
            one.PixelData = values.tobytes()
            one.PatientID = f"P{patient}"
            for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
                setattr(one, name, f"{getattr(one, name)}.{patient + 1}")
            one.file_meta.MediaStorageSOPInstanceUID = one.SOPInstanceUID
            one.save_as(place / f"{index}.dcm", enforce_file_format=True)
            slices.append(one)
        (volume,) = assemble(place, salt=SALT).volumes
        mask_DHW = np.zeros(volume.hu_DHW.shape, dtype=bool)
        mask_DHW[2:5, 3:9, 5:8] = True
        made = build_segmentation(mask_DHW, volume, slices, kind="nodule")
        write_dicom(place / "seg.dcm", made)


def _read_lesions(folder: Path, _: Any) -> str:
    path = folder.with_name(f"{folder.name}?roi=*")
    found = load_lesions(path, 0)
    return "read, with inputs left out" if found.skipped else "read"


def _deidentify(folder: Path, _: Any) -> str:
    out = folder.parent / "copies"
    shutil.rmtree(out, ignore_errors=True)
    summary = deidentify_files(folder, out=out, salt=SALT)
    for path in out.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert b"Doe^Jane" not in content, "a name is in a copy"
            assert b"MRN-4711" not in content, "an id is in a copy"
    left = any(one.state == "left out" for one in summary.outcomes)
    return "read, with files left out" if left else "read"


def _odd(folder: Path) -> None:
    """Real files of odd encodings from the folder next to the repository, if it is there."""
    source = Path(__file__).parents[3] / "../shared/data/odd_dicom"
    found = [path for path in sorted(source.rglob("*")) if path.is_file()]
    small = [path for path in found if 1000 < path.stat().st_size < 300_000][:6]
    for number, path in enumerate(small):
        put(folder, f"{number}.dcm", path.read_bytes())
    write_series(folder)


READERS = (
    Reader(name="DICOM series", prepare=_series, read=_assemble),
    Reader(name="DICOM, other encodings", prepare=_other_syntaxes, read=_assemble),
    Reader(name="DICOM, zip archive", prepare=_zip, read=_assemble),
    Reader(name="DICOM, real files", prepare=_odd, read=_assemble),
    Reader(name="DICOM de-identified", prepare=_series, read=_deidentify),
    Reader(name="DICOM segmentation", prepare=_seg, read=_read_seg),
    Reader(name="DICOM lesions by SEG", prepare=_lesion_seg, read=_read_lesions),
    Reader(name="NIfTI volume", prepare=_volume, read=_read_volumes),
)
