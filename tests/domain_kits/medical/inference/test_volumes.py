"""NIfTI files as volumes."""

from pathlib import Path

import nibabel
import numpy as np
import pytest

from moekit.testing import refused
from moekit_medical.inference.volumes import is_nifti, read_nifti

SALT = b"salt"
AFFINE = np.array([[-0.5, 0, 0, 30], [0, 0.6, 0, -40], [0, 0, 2.5, 7], [0, 0, 0, 1]])


def save(path: Path, data: np.ndarray, affine: np.ndarray | None = AFFINE) -> Path:
    image = nibabel.Nifti1Image(data, affine)
    if affine is not None:
        image.header.set_xyzt_units("mm")
    nibabel.save(image, path)
    return path


def test_values_keep_their_place_in_the_patient(tmp_path: Path) -> None:
    data_IJK = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    volume = read_nifti(save(tmp_path / "a.nii.gz", data_IJK), salt=SALT)
    assert volume.hu_DHW.shape == (6, 5, 4)
    assert volume.hu_DHW.dtype == np.float32
    assert volume.sop_uids == ("",) * 6
    assert (np.diagonal(volume.affine[[2, 1, 0], :3]) > 0).all()
    for ijk in ((0, 0, 0), (3, 1, 5), (2, 4, 0)):
        x, y, z, _ = AFFINE @ [*ijk, 1]
        d, h, w = volume.to_index(np.array([[-x, -y, z]]))[0].round().astype(int)
        assert volume.hu_DHW[d, h, w] == data_IJK[ijk]


def test_identifiers_follow_from_the_content(tmp_path: Path) -> None:
    data = np.zeros((3, 3, 3), dtype=np.float32)
    first = read_nifti(save(tmp_path / "a.nii", data), salt=SALT)
    again = read_nifti(save(tmp_path / "b.nii.gz", data), salt=b"other")
    other = read_nifti(save(tmp_path / "c.nii", data + 1), salt=SALT)
    assert first.series_uid == again.series_uid != other.series_uid
    assert first.series_uid != first.study_uid
    assert first.series_uid.startswith("2.25.")


def test_scaled_values_are_hounsfield_units_and_what_is_no_number_is_air(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.full((3, 3, 3), 7, dtype=np.int16), AFFINE)
    image.header.set_slope_inter(2, -1000)
    nibabel.save(image, tmp_path / "a.nii")
    scaled = read_nifti(tmp_path / "a.nii", salt=SALT)
    stored = np.unique(np.asarray(nibabel.load(tmp_path / "a.nii").dataobj))
    np.testing.assert_array_equal(np.unique(scaled.hu_DHW), stored)
    broken = np.full((3, 3, 3), np.nan, dtype=np.float32)
    broken[0, 0, 0] = 40
    volume = read_nifti(save(tmp_path / "b.nii", broken), salt=SALT)
    assert sorted(volume.hu_DHW.ravel())[:-1] == [-1024] * 26
    assert volume.repairs == (
        "26 of 27 voxels were not finite and were set to -1024 HU.",
        "Slices of one value each: 2 of 3 (number 2, 3).",
    )


def test_a_file_without_a_place_is_read_and_says_so(tmp_path: Path) -> None:
    data = np.arange(27, dtype=np.int16).reshape(3, 3, 3) - 1
    nibabel.save(nibabel.Nifti1Image(data, None), tmp_path / "a.nii")
    place, unit = read_nifti(tmp_path / "a.nii", salt=SALT).repairs
    assert "no place" in place
    assert "no unit" in unit
    assert read_nifti(save(tmp_path / "b.nii", data), salt=SALT).repairs == ()


def test_a_volume_of_one_value_is_told(tmp_path: Path) -> None:
    for value in (0, -1024):
        path = save(tmp_path / f"{value}.nii", np.full((3, 3, 3), value, np.int16))
        (told,) = read_nifti(path, salt=SALT).repairs
        assert told.startswith(f"All voxels have one value, {value} HU")


@pytest.mark.parametrize(
    ("data", "affine", "code"),
    [
        (np.zeros((3, 3, 3, 2), dtype=np.int16), AFFINE, "data/array-shape"),
        (np.zeros((3, 3), dtype=np.int16), AFFINE, "data/array-shape"),
        (np.zeros((3, 3, 3), dtype=np.complex64), AFFINE, "data/array-type"),
        (np.zeros((3, 3, 3)), AFFINE + np.eye(4)[[0]].T * [0, 0.3, 0, 0], "data/bad-geometry"),
        (np.zeros((3, 3, 3)), np.diag([1.0, 0.0, 1.0, 1.0]), "data/bad-geometry"),
    ],
)
def test_what_is_no_ct_volume_is_refused_without_its_name(
    tmp_path: Path, data: np.ndarray, affine: np.ndarray, code: str
) -> None:
    image = nibabel.Nifti1Image(data, AFFINE)
    image.header.set_sform(affine, 1)
    image.header.set_qform(AFFINE, 0)
    image.set_sform(affine, 1)
    nibabel.save(image, tmp_path / "Jane_Doe.nii")
    with refused(code) as caught:
        read_nifti(tmp_path / "Jane_Doe.nii", salt=SALT)
    assert "Jane" not in str(caught.value)


def test_a_damaged_file_is_refused_without_its_name(tmp_path: Path) -> None:
    path = save(tmp_path / "Jane_Doe.nii", np.zeros((9, 9, 9)))
    path.write_bytes(path.read_bytes()[:500])
    with refused("data/damaged") as caught:
        read_nifti(path, salt=SALT)
    assert "Jane" not in str(caught.value)


def test_a_nifti_file_is_known_by_its_name() -> None:
    assert is_nifti(Path("A.NII.GZ"))
    assert is_nifti(Path("a.nii"))
    assert not is_nifti(Path("a.nii.zip"))


def test_the_volumes_that_contradict_themselves_are_refused(shared: Path) -> None:
    folder = shared / "cases" / "field" / "07-nifti-forms-disagree"
    for name in ("conflict", "ident", "mirror"):
        with refused("data/contradiction"):
            read_nifti(folder / f"{name}.nii.gz", salt=SALT)


def test_voxels_that_are_no_numbers_are_told(shared: Path) -> None:
    path = shared / "cases" / "field" / "15-nifti-nan" / "nan.nii.gz"
    assert "6720 of 19200 voxels" in " ".join(read_nifti(path, salt=SALT).repairs)
