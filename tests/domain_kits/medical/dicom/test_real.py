"""The assembler on scanners' series, against independent geometry, and on odd files."""

import csv
import importlib.util
import itertools
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest

from moekit_medical.dicom.assemble import assemble
from moekit_medical.privacy import token

SALT = b"a secret of the tests"
LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def lung(shared):
    return shared / "data" / "lung_ct_dicom"


@pytest.fixture(scope="module")
def phantom(lung):
    """The IBSI lung patient; only its files of CT are slices."""
    assembly = assemble(lung / "ibsi_lung_pat1", salt=SALT)
    assert assembly.verdicts == {"ok": 1, "repaired": 0, "refused": 0}
    assert "no slices (RT Structure Set Storage)" in {one.reason for one in assembly.ignored}
    return assembly.volumes[0]


def test_box_centres_fall_on_the_voxel_and_slice_they_were_drawn_on(lung):
    assembly = assemble(lung / "Lung_Dx-A0002", salt=SALT)
    assert assembly.verdicts == {"ok": 2, "repaired": 0, "refused": 0}
    place_of = {
        uid: (volume, d) for volume in assembly.volumes for d, uid in enumerate(volume.sop_uids)
    }
    with (lung / "boxes.csv").open(newline="") as file:
        boxes = [row for row in csv.DictReader(file) if row["patient"] == "Lung_Dx-A0002"]
    assert len(boxes) == 18
    for box in boxes:
        volume, slice_index = place_of[box["sop_instance_uid"]]
        centre = [float(box[name]) for name in ("x_mm_center", "y_mm_center", "z_mm")]
        d, h, w = volume.to_index(np.array([centre]))[0]
        assert d == pytest.approx(slice_index, abs=1e-3)
        assert h == pytest.approx((int(box["ymin"]) + int(box["ymax"])) / 2, abs=0.1)
        assert w == pytest.approx((int(box["xmin"]) + int(box["xmax"])) / 2, abs=0.1)


def test_the_volume_is_the_nifti_of_the_same_patient(phantom, lung):
    image = nibabel.load(lung / "ibsi_lung_pat1" / "nifti" / "image" / "phantom.nii.gz")
    values = np.asarray(image.dataobj)
    index = np.argwhere(np.ones(phantom.hu_DHW.shape, dtype=bool))
    index = np.random.default_rng(0).permutation(index)[:20_000]
    lps = np.c_[phantom.to_patient(index.astype(float)), np.ones(len(index))]
    voxel = (lps @ LPS_FROM_RAS.T @ np.linalg.inv(image.affine).T)[:, :3]
    nearest = np.rint(voxel).astype(int)
    np.testing.assert_allclose(voxel, nearest, atol=2e-2)
    inside = ((nearest >= 0) & (nearest < values.shape)).all(axis=1)
    assert inside.all()
    np.testing.assert_allclose(phantom.hu_DHW[tuple(index.T)], values[tuple(nearest.T)], atol=1e-3)


def test_contours_lie_on_the_slices_they_name(phantom, lung):
    (path,) = (lung / "ibsi_lung_pat1" / "rtstruct").glob("*.dcm")
    contours = list(
        itertools.chain(
            *(roi.get("ContourSequence", ()) for roi in pydicom.dcmread(path).ROIContourSequence)
        )
    )
    assert contours
    for contour in contours:
        index = phantom.to_index(np.reshape(contour.ContourData, (-1, 3)).astype(float))
        (d,) = {round(float(value)) for value in index[:, 0]}
        np.testing.assert_allclose(index[:, 0], d, atol=0.02)
        if "ContourImageSequence" in contour:
            assert contour.ContourImageSequence[0].ReferencedSOPInstanceUID == phantom.sop_uids[d]


def test_a_tilted_series_of_variable_spacing_is_refused(shared):
    assembly = assemble(shared / "data" / "odd_dicom", salt=SALT)
    (refusal,) = assembly.refused
    assert not assembly.volumes
    assert len(refusal.files) == 28
    assert refusal.reason == "the distance between slices varies from 1.08 to 7.00 mm"


def test_the_evenly_spaced_part_of_it_is_untilted(shared, tmp_path):
    for number in range(1, 15):
        name = f"{number:02}.dcm"
        shutil.copy(shared / "data" / "odd_dicom" / "ge_tilt18_variable_spacing" / name, tmp_path)
    (volume,) = assemble(tmp_path, salt=SALT).volumes
    assert "The gantry tilt of 18.5 degrees was undone by moving each slice." in volume.repairs
    d, h, w = volume.affine[:3, :3].T
    np.testing.assert_allclose([d @ h, d @ w, h @ w], 0, atol=1e-6)
    assert volume.spacing_mm[0] == pytest.approx(4.22 * np.cos(np.radians(18.5)), abs=1e-3)
    # Where a slice's own header puts a voxel, there the volume has its value.
    dataset = pydicom.dcmread(tmp_path / "10.dcm")
    row, column = np.reshape(dataset.ImageOrientationPatient, (2, 3)).astype(float)
    h_w = np.random.default_rng(0).integers(150, 350, size=(500, 2))
    place = np.array(dataset.ImagePositionPatient, dtype=float) + h_w * 0.4882812 @ [column, row]
    index = volume.to_index(place)
    np.testing.assert_allclose(index[:, 0], 9, atol=1e-3)
    below = np.floor(index[:, 1] + 1e-6).astype(int)
    columns = np.rint(index[:, 2]).astype(int)
    pair = volume.hu_DHW[9, [below, below + 1], columns]
    original = dataset.pixel_array[tuple(h_w.T)]
    # The value lies between those of the voxels around it, except for what interpolation smooths.
    middle = (pair[0] + pair[1]) / 2
    assert np.corrcoef(middle, original)[0, 1] > 0.97


def test_one_slice_taken_from_a_series_is_interpolated_with_a_record(lung, tmp_path, phantom):
    shutil.copytree(lung / "ibsi_lung_pat1" / "ct", tmp_path / "ct")
    (tmp_path / "ct" / "DCM_IMG_00030.dcm").unlink()
    (volume,) = assemble(tmp_path, salt=SALT).volumes
    assert volume.repairs == ("Missing and interpolated between their neighbours: 1 of 60 slices.",)
    np.testing.assert_allclose(volume.affine, phantom.affine, atol=1e-9)
    (changed,) = np.flatnonzero((volume.hu_DHW != phantom.hu_DHW).any(axis=(1, 2)))
    neighbours = phantom.hu_DHW[[changed - 1, changed + 1]]
    np.testing.assert_array_equal(volume.hu_DHW[changed], neighbours.mean(axis=0))


@pytest.mark.parametrize("package", ["pydicom", "data_store", "deid_data"])
def test_odd_files_all_get_a_place_and_none_stops_the_others(package, capfd):
    """`data_store` is the package pydicom-data."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"the package of {package} is not installed")
    folder = Path(spec.submodule_search_locations[0])
    folder = folder / "data" if (folder / "data").is_dir() else folder
    assembly = assemble(folder, salt=SALT)
    named = [*itertools.chain(*assembly.used), *(one.file for one in assembly.ignored)]
    named += [name for refusal in assembly.refused for name in refusal.files]
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 10
    zipped = [path for path in files if path.suffix == ".zip"]
    expected = sorted(token(str(path), salt=SALT) for path in files if path not in zipped)
    assert sorted(set(named) & set(expected)) == expected
    assert len(named) == len(set(named))
    assert capfd.readouterr() == ("", "")
