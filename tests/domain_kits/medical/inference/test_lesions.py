"""Outlines of lesions in whole series: put back, measured, written, and read again."""

import json

import nibabel
import numpy as np
import pydicom
import pytest
from inference_series import PATIENT, ROOT, Thorax, draw, write_series
from PIL import Image

from moekit.testing import refused
from moekit_medical.dicom.assemble import assemble
from moekit_medical.findings.record import DISCLAIMER
from moekit_medical.findings.seg import MOST_SEGMENTS, read_segmentation
from moekit_medical.inference.lesion_parts import number_lesions
from moekit_medical.inference.lesions import run_lesions
from moekit_medical.loaders.crops import turn_to_patient
from moekit_medical.privacy import token

SALT = b"a salt"
NAME = token(f"{ROOT}1", salt=SALT)


def bright(pictures_NHW):
    """What is denser than water is a lesion."""
    return pictures_NHW > 190


def run(inputs, out, outliner=bright, **options):
    return run_lesions(
        inputs, outliner=outliner, out=out, salt=SALT, provenance={"model": "m"}, **options
    )


def summary_of(out):
    return json.loads((out / "summary.json").read_text(encoding="utf-8"))


def contents(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_the_segmentation_holds_the_voxels_that_were_answered(series, thorax, tmp_path):
    out = tmp_path / "out"
    summary = run(series, out, batch_size=5)
    assert summary.counts["outlined"] == 1
    read = read_segmentation(out / NAME / "segmentation.dcm", thorax)
    expected = np.rint((thorax.hu_DHW.clip(-1000, 400) + 1000) / 1400 * 255) > 190
    assert np.array_equal(read > 0, expected)
    (record,) = summary_of(out)["series"]
    voxel_mm3 = float(np.prod(thorax.spacing_mm))
    assert record["volume_mm3"] == pytest.approx(expected.sum() * voxel_mm3, abs=0.1)
    assert record["lesions"] == len(number_lesions(expected, thorax)[0])
    counts = [np.count_nonzero(read == number) for number in range(1, read.max())]
    assert counts[:5] == [one["voxels"] for one in record["largest"][:5]]
    assert read.max() == min(record["lesions"], MOST_SEGMENTS)
    assert record["largest"][0]["sop_uid"] in thorax.sop_uids
    assert (out / NAME / "overlays" / "01.png").is_file()


def test_the_order_and_direction_of_slices_do_not_matter(thorax):
    """A mask of a volume that runs to the feet is the same mask turned."""
    turned = turn_to_patient(thorax.hu_DHW[::-1], _reversed(thorax.affine, len(thorax.hu_DHW)))
    assert np.array_equal(turned.hu_DHW, thorax.hu_DHW)
    assert np.allclose(turned.affine, thorax.affine)


def _reversed(affine, depth):
    changed = affine.copy()
    changed[:3, 3] += changed[:3, 0] * (depth - 1)
    changed[:3, 0] *= -1
    return changed


def test_lesions_are_connected_and_measured(thorax):
    mask = np.zeros(thorax.hu_DHW.shape, dtype=bool)
    mask[2, 3:5, 3:5] = mask[3, 5, 5] = True  # joined by a corner
    mask[8, 10, 10] = True
    (large, small), _ = number_lesions(mask, thorax)
    voxel_mm3 = float(np.prod(thorax.spacing_mm))
    assert (large.voxels, small.voxels) == (5, 1)
    assert large.volume_mm3 == pytest.approx(5 * voxel_mm3)
    assert (large.slices, large.widest) == (2, 2)
    assert np.allclose(small.centre_mm, thorax.to_patient(np.array([[8, 10, 10]]))[0])
    assert number_lesions(np.zeros_like(mask), thorax)[0] == ()


def test_objects_that_touch_stay_apart_and_go_on_in_the_slices_beside(thorax):
    part = np.zeros(thorax.hu_DHW.shape, dtype=np.uint16)
    part[2, 3:6, 3:6], part[2, 3:6, 6:9] = 1, 2  # they touch
    part[3, 3:6, 3:7], part[3, 3:6, 7:9] = 2, 1  # and swap their numbers
    part[4, 3:6, 3:4], part[4, 3:6, 5:6] = 5, 7  # one goes on as two; numbers have gaps
    part[6, 3:6, 3:6] = 1  # beyond an empty slice
    lesions, number = number_lesions(part, thorax)
    assert [one.voxels for one in lesions] == [9 + 12 + 6, 9 + 6, 9]
    assert [one.slices for one in lesions] == [3, 2, 1]
    assert sorted(np.unique(number[2:5, 3:6, 3:4])) == [1]
    assert number[3, 4, 8] == number[2, 4, 8] == 2
    assert number.max() == 3
    assert np.array_equal(number > 0, part > 0)
    nothing, empty = number_lesions(np.zeros_like(part), thorax)
    assert (nothing, empty.any()) == ((), False)


def test_a_series_of_numbered_objects_has_a_segment_for_each(series, thorax, tmp_path):
    """Left and right halves touch, and are two lesions."""

    def halves(pictures_NHW):
        numbers = bright(pictures_NHW).astype(np.uint16)
        numbers[:, :, numbers.shape[2] // 2 :] *= 2
        return numbers

    out = tmp_path / "out"
    run(series, out, halves)
    read = read_segmentation(out / NAME / "segmentation.dcm", thorax)
    plain = np.rint((thorax.hu_DHW.clip(-1000, 400) + 1000) / 1400 * 255) > 190
    assert np.array_equal(read > 0, plain)
    (record,) = summary_of(out)["series"]
    assert record["status"] == "outlined"
    half = read.shape[2] // 2
    assert not set(np.unique(read[:, :, :half])) & set(np.unique(read[:, :, half:])) - {0}


def test_without_a_lesion_there_is_no_segmentation_and_a_note(series, tmp_path):
    out = tmp_path / "out"
    run(series, out)
    run(series, out, lambda pictures: np.zeros(pictures.shape, dtype=bool))
    assert set(contents(out)) == {"summary.json"}
    (record,) = summary_of(out)["series"]
    assert (record["lesions"], record["volume_mm3"]) == (0, 0)
    assert "no lesion was outlined" in record["problems"][0]


def test_no_name_and_no_path_is_written_but_for_the_dicom_object(series, tmp_path):
    out = tmp_path / "out"
    run(series, out)
    written = contents(out)
    segmentation = written.pop(f"{NAME}/segmentation.dcm")
    for name, content in written.items():
        # Three letters are found by chance among compressed pixels.
        short = () if name.endswith(".png") else ("Doe",)
        for word in (*PATIENT.values(), "Jane", *short, str(tmp_path)):
            assert word.encode() not in content, name
    assert DISCLAIMER in summary_of(out)["disclaimer"]
    with Image.open(out / NAME / "overlays" / "01.png") as image:
        assert image.text["Disclaimer"] == DISCLAIMER
    dataset = pydicom.dcmread(out / NAME / "segmentation.dcm")
    assert "not for clinical use" in dataset.SeriesDescription
    assert str(tmp_path).encode() not in segmentation


def test_the_same_input_gives_the_same_bytes(series, tmp_path):
    for name in ("first", "second"):
        run(series, tmp_path / name)
    assert contents(tmp_path / "first") == contents(tmp_path / "second")


@pytest.mark.parametrize(
    ("outliner", "says"),
    [
        (lambda pictures: pictures, "not one answer for each pixel"),
        (lambda pictures: pictures[:, :-1] > 9, "not one answer for each pixel"),
        (lambda pictures: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_a_series_that_fails_is_told_and_leaves_nothing(series, tmp_path, outliner, says):
    out = tmp_path / "out"
    run(series, out)
    assert run(series, out, outliner).counts["failed"] == 1
    (record,) = summary_of(out)["series"]
    assert says in record["reason"]
    assert set(contents(out)) == {"summary.json"}


def test_a_nifti_volume_gives_a_nifti_label_on_its_grid(thorax, tmp_path):
    ras = np.diag([-1.0, -1.0, 1.0, 1.0]) @ thorax.affine[:, [2, 1, 0, 3]]
    image = nibabel.nifti1.Nifti1Image(thorax.hu_DHW.T.astype(np.int16), ras)
    image.to_filename(tmp_path / "Jane.nii.gz")
    run(tmp_path / "Jane.nii.gz", tmp_path / "out")
    (made,) = (tmp_path / "out").rglob("segmentation.nii")
    label = nibabel.nifti1.Nifti1Image.from_filename(made)
    assert np.allclose(label.affine, ras)
    answered = np.rint((thorax.hu_DHW.clip(-1000, 400) + 1000) / 1400 * 255) > 190
    assert np.array_equal(np.asarray(label.dataobj).T, answered)


def test_damaged_files_stop_nobody(series, tmp_path):
    (series / "noise.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 500)
    (series / "text.dcm").write_text("Jane Doe")
    write_series(series / "flat", draw(Thorax(step_mm=5.0, pixel_mm=2.0)), series="5", Modality="X")
    summary = run(series, tmp_path / "out")
    assert summary.counts["outlined"] == 1
    assert summary.counts["refused"] == 1
    assert len(summary.ignored) == 2


def test_arguments_out_of_range_are_refused(series, tmp_path):
    with refused("usage/nested-folders"):
        run(series, series / "out")
    with refused("usage/out-of-range"):
        run(series, tmp_path / "out", batch_size=0)


def test_real_series_are_outlined_and_read_again(shared, tmp_path):
    folder = shared / "data" / "lung_ct_dicom" / "ibsi_lung_pat1" / "ct"
    (volume,) = assemble(folder, salt=SALT).volumes
    summary = run(folder, tmp_path / "out", lambda pictures: pictures > 220)
    (record,) = summary.series
    read = read_segmentation(tmp_path / "out" / record.series.name / "segmentation.dcm", volume)
    assert (read > 0).sum() == sum(lesion.voxels for lesion in record.lesions)
    more = len(record.lesions) > MOST_SEGMENTS
    assert bool(record.problems) == more
