"""NIfTI volumes that contradict themselves, or whose values are no Hounsfield units."""

import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Image

from moekit_medical.loaders.examples import write_nifti_example
from moekit_medical.loaders.lesion_labels import nifti_label
from moekit_medical.loaders.nifti import load_nifti
from moekit_medical.loaders.nifti_file import (
    NAN_SLOPE,
    UNUSED_INTERCEPT,
    read_nifti,
    read_values,
)
from moekit_medical.loaders.nifti_place import NiftiError

VOXELS_IJK = np.random.default_rng(0).integers(-900, 300, (40, 36, 5)).astype(np.int16)
RAS = np.array([[-1.5, 0, 0, 10], [0, -1.5, 0, 20], [0, 0, 2.5, -30], [0, 0, 0, 1.0]])
PIXDIM = 76
"""Where the header has it."""


@pytest.fixture
def folder(tmp_path):
    return write_nifti_example(tmp_path)


def reason(path):
    with pytest.raises(NiftiError) as caught:
        read_nifti(path)
    assert str(path.parent) not in str(caught.value)
    return str(caught.value)


def save_forms(path, sform, qform, *, zooms=None, values=VOXELS_IJK):
    image = Nifti1Image(values, None)
    image.header.set_xyzt_units("mm")
    image.header.set_qform(qform, 1)
    image.header.set_sform(sform, 1)
    if zooms:
        image.header["pixdim"][1:4] = zooms
    image.to_filename(path)
    return path


@pytest.mark.parametrize(
    "change",
    [
        np.diag([-1.0, 1, 1, 1]),  # mirrored
        np.eye(4) + np.outer([1, 0, 0, 0], [0, 0, 0, 50]),  # 50 mm next to
        np.eye(4)[[0, 2, 1, 3]],  # another axis up
    ],
)
def test_forms_that_contradict_each_other_are_refused(tmp_path, change):
    path = save_forms(tmp_path / "a.nii", RAS, change @ RAS)
    with pytest.raises(NiftiError) as caught:
        read_nifti(path)
    assert caught.value.code == "data/contradiction"


def test_forms_that_differ_by_little_are_told_and_equal_ones_are_not(tmp_path):
    shifted = RAS + np.outer([1, 0, 0, 0], [0, 0, 0, 0.3])
    near = read_nifti(save_forms(tmp_path / "a.nii", RAS, shifted))
    assert "the sform was taken" in near.repairs[0]
    assert "0.30 mm" in near.repairs[0]
    assert read_nifti(save_forms(tmp_path / "b.nii", RAS, RAS)).repairs == ()


def test_an_identity_beside_a_real_voxel_size_is_refused(tmp_path):
    path = tmp_path / "a.nii"
    image = Nifti1Image(VOXELS_IJK, np.eye(4))
    image.header["pixdim"][1:4] = (0.7, 0.7, 2.5)
    image.to_filename(path)
    data = bytearray(path.read_bytes())
    data[PIXDIM + 4 : PIXDIM + 16] = np.array([0.7, 0.7, 2.5], "<f4").tobytes()
    path.write_bytes(data)
    assert "pixdim states 0.7 x 0.7 x 2.5 mm" in reason(path)


def test_values_that_are_no_numbers_become_air_with_a_record_of_the_set(folder):
    volume = Nifti1Image.from_filename(folder / "v0.nii.gz")
    values = np.asarray(volume.dataobj).astype(np.float32)
    values[:, :, -1] = np.nan
    image = Nifti1Image(values, volume.affine)
    image.header.set_xyzt_units("mm")
    image.to_filename(folder / "v0.nii.gz")
    count = values[:, :, -1].size
    sentence, flat = read_nifti(folder / "v0.nii.gz").repairs
    assert flat.startswith("Slices of one value each: 1 of ")
    assert sentence.startswith(f"{count} of {values.size} voxels")
    for _ in range(2):  # once written, once from the cache
        source = load_nifti(folder, 0).source
        assert source.endswith(
            f"; 1 of the volumes was mended in reading: {sentence} (1) {flat} (1)"
        )


def test_a_label_with_values_that_are_no_numbers_keeps_them(tmp_path):
    values = VOXELS_IJK.astype(np.float32)
    values[0, 0, 0] = np.nan
    Nifti1Image(values, RAS).to_filename(tmp_path / "a.nii")
    assert np.isnan(read_values(tmp_path / "a.nii").scan.hu_DHW).sum() == 1


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (VOXELS_IJK - np.int16(8192), "none that a CT has"),
        (VOXELS_IJK.astype("<u2").astype(np.int32), "none that a CT has"),  # a wrong sign
        (VOXELS_IJK.byteswap(), "none that a CT has"),
        (np.full(VOXELS_IJK.shape, np.inf, np.float32), "no value of the volume is a finite"),
    ],
)
def test_values_that_no_ct_has_are_refused(tmp_path, values, says):
    Nifti1Image(values, RAS).to_filename(tmp_path / "a.nii")
    assert says in reason(tmp_path / "a.nii")


def test_metal_noise_and_padding_that_nobody_states_are_taken(tmp_path):
    values = VOXELS_IJK.copy()
    values[:9] = -3024
    values[-3:] = 9000
    Nifti1Image(values, RAS).to_filename(tmp_path / "a.nii")
    assert np.array_equal(read_nifti(tmp_path / "a.nii").scan.hu_DHW, values.T)


SLOPE = 112
"""Where the header has scl_slope and, behind it, scl_inter."""


@pytest.mark.parametrize(
    ("slope", "intercept", "told"),
    [
        (0.0, 0.0, ()),  # not set
        (0.0, float("nan"), (UNUSED_INTERCEPT,)),
        (0.0, -1024.0, (UNUSED_INTERCEPT,)),
        (float("nan"), 0.0, (NAN_SLOPE,)),
        (float("nan"), float("nan"), (NAN_SLOPE,)),
        (1.0, 0.0, ()),
    ],
)
def test_a_scale_that_is_stated_in_part_is_told(tmp_path, slope, intercept, told):
    path = scaled(tmp_path / "a.nii", slope, intercept)
    read = read_nifti(path)
    assert read.repairs == told
    assert np.array_equal(read.values_KJI, VOXELS_IJK.T)


@pytest.mark.parametrize("scale", [(1.0, float("nan")), (2.0, float("inf")), (float("inf"), 0.0)])
def test_a_scale_that_has_no_end_is_refused(tmp_path, scale):
    path = scaled(tmp_path / "a.nii", *scale)
    with pytest.raises(NiftiError) as caught:
        read_nifti(path)
    assert caught.value.code == "data/damaged"


def scaled(path, slope, intercept):
    save_forms(path, RAS, RAS)
    data = bytearray(path.read_bytes())
    data[SLOPE : SLOPE + 8] = np.array([slope, intercept], "<f4").tobytes()
    path.write_bytes(data)
    return path


def test_slices_of_one_value_are_told_with_their_numbers(tmp_path):
    values = VOXELS_IJK.copy()
    values[:, :, 2] = -1024
    one = read_nifti(save_forms(tmp_path / "a.nii", RAS, RAS, values=values))
    assert one.repairs == ("Slices of one value each: 1 of 5 (number 3).",)
    many = np.repeat(values[:, :, 2:3], 20, axis=2)
    many[0, 0, 0] = 7
    (told,) = read_nifti(save_forms(tmp_path / "b.nii", RAS, RAS, values=many)).repairs
    assert told == "Slices of one value each: 19 of 20 (number 2, 3, 4, 5, 6, 7, 8, 9 and 11 more)."


def test_the_place_and_scale_of_a_label_are_told_with_the_label(tmp_path):
    label = nifti_label(scaled(tmp_path / "a.nii", float("nan"), 0.0))
    assert label.remarks == (f"Of a label: {NAN_SLOPE}",)
    (tmp_path / "b.nii").write_bytes(b"no header")
    assert nifti_label(tmp_path / "b.nii").remarks == ()
