"""The loader of DICOM series, on its example, on damaged copies of it and on real series."""

import csv
import shutil
import zipfile

import numpy as np
import pydicom
import pytest
from loader_tables import SECRET, edit_table, pixels_of, text_of, write_table

from moekit.testing import refused
from moekit_medical.dicom.assemble import assemble
from moekit_medical.hounsfield import WINDOW_HU
from moekit_medical.loaders.crops import crop, turn_to_patient
from moekit_medical.loaders.examples import write_dicom_example
from moekit_medical.loaders.nifti_file import read_nifti
from moekit_medical.loaders.series import load_dicom

HEADER = "series,label,x,y,z,sop,row,column"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "set").mkdir()
    return write_dicom_example(tmp_path / "set")


def edit_files(folder, change, pattern="s*/*.dcm"):
    for path in sorted(folder.glob(pattern)):
        dataset = pydicom.dcmread(path)
        change(dataset)
        dataset.save_as(path)


def reasons_of(folder):
    return {int(s.id.partition("/")[2]): s.reason for s in load_dicom(folder, 0).skipped}


def test_each_candidate_is_a_crop_with_its_finding_in_the_middle(folder):
    dataset = load_dicom(folder, 0)
    assert len(dataset.samples) == 12
    assert dataset.skipped == ()
    assert "50 x 50 mm" in dataset.source
    for sample in dataset.samples:
        pixels = pixels_of(sample)
        hu = pixels[49:51, 49:51].mean() / 255 * 1400 - 1000
        assert abs(hu - (50 if sample.label else -500)) < 120


def test_neither_ids_nor_messages_hold_a_uid_a_path_or_a_patient(folder):
    edit_files(folder, lambda d: setattr(d, "PatientName", SECRET))
    edit_files(folder, lambda d: setattr(d, "RescaleSlope", 0), "s3/*.dcm")
    dataset = load_dicom(folder, 0)
    text = text_of(dataset)
    assert len(dataset.skipped) == 2
    for secret in ("1.2.826", "made-up", SECRET, str(folder), "s3"):
        assert secret not in text
    assert all(len(s.id.partition("/")[0]) == 12 for s in dataset.samples)


def test_ids_and_pixels_are_the_same_whatever_the_layout(folder, tmp_path):
    before = load_dicom(folder, 0)
    flat = tmp_path / "flat"
    flat.mkdir()
    shutil.copy(folder / "labels.csv", flat)
    for number, path in enumerate(sorted(folder.glob("s*/*.dcm"), reverse=True)):
        shutil.copy(path, flat / f"IM{number}")
    packed = tmp_path / "packed"
    packed.mkdir()
    shutil.copy(folder / "labels.csv", packed)
    with zipfile.ZipFile(packed / "all.zip", "w") as archive:
        for path in sorted(folder.glob("s*/*.dcm")):
            archive.write(path, f"deep/{path.parent.name}{path.name}")
    for other in (load_dicom(flat, 0), load_dicom(packed, 0)):
        assert [(s.id, s.label, s.split, s.group) for s in other.samples] == [
            (s.id, s.label, s.split, s.group) for s in before.samples
        ]
        assert all(
            np.array_equal(pixels_of(a), pixels_of(b))
            for a, b in zip(before.samples, other.samples, strict=True)
        )


def test_a_series_torn_over_two_folders_is_put_together(folder):
    before = load_dicom(folder, 0)
    (folder / "elsewhere").mkdir()
    (folder / "s0" / "3.dcm").rename(folder / "elsewhere" / "a.dcm")
    after = load_dicom(folder, 0)
    assert after.skipped == ()
    assert np.array_equal(pixels_of(before.samples[0]), pixels_of(after.samples[0]))


def test_a_pixel_and_a_point_name_the_same_place(folder):
    nodule = load_dicom(folder, 0).samples[1]
    before = pixels_of(nodule)
    edit_table(
        folder, lambda lines: [*lines[:2], lines[2].split(",")[0] + ",1,44,40,5,,,", *lines[3:]]
    )
    assert np.array_equal(before, pixels_of(load_dicom(folder, 0).samples[1]))


def test_series_of_one_patient_or_one_study_lie_in_one_split(folder):
    groups = [sample.group for sample in load_dicom(folder, 0).samples]
    assert len(set(groups)) == 6
    edit_files(folder, lambda d: setattr(d, "PatientID", "made-up-0"), "s1/*.dcm")
    study = pydicom.dcmread(folder / "s2" / "0.dcm").StudyInstanceUID
    edit_files(folder, lambda d: setattr(d, "StudyInstanceUID", study), "s3/*.dcm")
    groups = [sample.group for sample in load_dicom(folder, 0).samples][::2]
    assert groups[0] == groups[1] == "patient of line 2"
    assert groups[2] == groups[3]
    assert len(set(groups)) == 4


def test_the_column_patient_goes_before_the_headers(folder):
    edit_files(folder, lambda d: setattr(d, "PatientID", "anonymous"))
    with refused("data/too-few-groups") as caught:
        load_dicom(folder, 0)
    assert "anonymous" not in str(caught.value)
    edit_table(
        folder,
        lambda lines: [
            f"{lines[0]},patient",
            *(f"{t},{SECRET}{i // 4}" for i, t in enumerate(lines[1:])),
        ],
    )
    dataset = load_dicom(folder, 0)
    assert len({sample.group for sample in dataset.samples}) == 3
    assert SECRET not in text_of(dataset)


def test_a_study_in_two_splits_is_refused(folder):
    study = pydicom.dcmread(folder / "s0" / "0.dcm").StudyInstanceUID
    edit_files(folder, lambda d: setattr(d, "StudyInstanceUID", study), "s5/*.dcm")
    splits = ["train", "train", "val", "val", "test", "test"]
    edit_table(
        folder,
        lambda lines: [
            f"{lines[0]},split",
            *(f"{t},{splits[i // 2]}" for i, t in enumerate(lines[1:])),
        ],
    )
    with refused("data/leaking-group", match="'patient of line 2'"):
        load_dicom(folder, 0)


def test_rows_of_refused_and_absent_series_are_skipped_with_the_reason(folder):
    edit_files(folder, lambda d: d.pop("PixelSpacing"), "s0/*.dcm")
    for number in (0, 2):
        (folder / "s1" / f"{number}.dcm").unlink()
    shutil.rmtree(folder / "s2")
    dataset = load_dicom(folder, 0)
    reasons = reasons_of(folder)
    assert sorted(reasons) == [2, 3, 4, 5, 6, 7]
    assert reasons[2].startswith("its series is refused: ")
    assert "PixelSpacing" in reasons[2]
    assert "fewer than 3" in reasons[4]
    assert reasons[6] == "no image of its series is there"
    assert len(dataset.samples) == 6


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        ("1,44,40,500,,,", "its centre lies outside the volume"),
        ("1,,,,1.2.3,1,1", "its SOPInstanceUID is not in the series"),
        ("1,,,,1.2.826.0.1.3680043.8.498.4242.2.1,1,1", "its SOPInstanceUID is not in the series"),
        ("1,,,,1.2.826.0.1.3680043.8.498.4242.1.1,32,1", "lies outside the slice"),
        ("1,,,,1.2.826.0.1.3680043.8.498.4242.1.1,1,-1", "lies outside the slice"),
    ],
)
def test_a_row_whose_place_is_not_in_the_series_is_skipped(folder, cells, says):
    edit_table(folder, lambda lines: [*lines[:2], f"{lines[2].split(',')[0]},{cells}", *lines[3:]])
    assert list(reasons_of(folder)) == [3]
    assert says in reasons_of(folder)[3]


@pytest.mark.parametrize(
    ("cells", "code", "named"),
    [
        ("1.2,1,,,,,,", "data/column-conflict", "x,y,z"),
        ("1.2,1,1,2,3,1.2.3,1,1", "data/column-conflict", "x,y,z"),
        ("1.2,1,,,,1.2.3,,", "data/column-conflict", "sop"),
        ("1.2,1,,,,,1,1", "data/column-conflict", "sop"),
        ("1.2,1,,,,1.2.3,1,", "data/bad-value", "row, column"),
        (",1,1,2,3,,,", "data/empty-cell", "series"),
        (f"1.2,1,{SECRET},2,3,,,", "data/bad-value", "x, y, z"),
    ],
)
def test_a_line_that_cannot_be_meant_is_refused(tmp_path, cells, code, named):
    write_table(tmp_path, HEADER, [cells.split(",")])
    with refused(code, match=named) as caught:
        load_dicom(tmp_path, 0)
    assert caught.value.whose == "labels.csv, line 2"
    assert SECRET not in str(caught.value)


def test_pixels_are_decoded_again_only_where_something_changed(folder, cache):
    first = load_dicom(folder, 0)
    written = {path: path.stat().st_mtime_ns for path in cache.rglob("*.png")}
    assert load_dicom(folder, 0) == first
    (folder / "notes.txt").write_text("something else")
    assert load_dicom(folder, 0) == first
    edit_files(folder, lambda d: setattr(d, "RescaleIntercept", -1000), "s0/*.dcm")
    after = load_dicom(folder, 0)
    assert [a.path != b.path for a, b in zip(first.samples, after.samples, strict=True)] == [
        True,
        True,
        *[False] * 10,
    ]
    assert {path: path.stat().st_mtime_ns for path in written} == written


def test_other_files_links_and_loops_do_no_harm(folder, tmp_path):
    before = load_dicom(folder, 0)
    (folder / "loop").symlink_to(folder)
    (folder / "nowhere").symlink_to(tmp_path / "nothing")
    (folder / "empty.dcm").write_bytes(b"")
    (folder / "text.dcm").write_text("no DICOM")
    (folder / "s0" / "zip.zip").write_bytes(b"PK\x03\x04 damaged")
    assert [s.id for s in load_dicom(folder, 0).samples] == [s.id for s in before.samples]


def test_a_link_to_a_folder_elsewhere_is_not_followed(folder, tmp_path):
    (folder / "s5").rename(tmp_path / "elsewhere")
    (folder / "s5").symlink_to(tmp_path / "elsewhere")
    assert reasons_of(folder) == dict.fromkeys((12, 13), "no image of its series is there")


def test_a_file_in_place_of_the_folder_is_refused(folder):
    with refused("data/unreadable"):
        load_dicom(folder / "s0" / "0.dcm", 0)


def test_boxes_of_radiologists_in_pixels_and_in_millimetres_give_the_same_crops(shared, tmp_path):
    source = shared / "data" / "lung_ct_dicom"
    shutil.copytree(source / "Lung_Dx-A0002" / "610983", tmp_path / "one")
    shutil.copytree(source / "ibsi_lung_pat1" / "ct", tmp_path / "other")
    with (source / "boxes.csv").open(encoding="utf-8") as file:
        boxes = {row["sop_instance_uid"]: row for row in csv.DictReader(file)}
    headers = [
        pydicom.dcmread(path, stop_before_pixels=True)
        for path in sorted(tmp_path.rglob("*"))
        if path.is_file()
    ]
    points, pixels = [], []
    for header in headers:
        box = boxes.get(str(header.SOPInstanceUID))
        if box is not None:
            start = [header.SeriesInstanceUID, len(points) % 2]
            middle = [(int(box[f"{axis}min"]) + int(box[f"{axis}max"])) / 2 for axis in ("y", "x")]
            points.append(
                [*start, box["x_mm_center"], box["y_mm_center"], box["z_mm"], *[""] * 3, "train"]
            )
            pixels.append([*start, *[""] * 3, header.SOPInstanceUID, *middle, "train"])
    assert len(points) >= 8
    series, sop = headers[-1].SeriesInstanceUID, headers[-1].SOPInstanceUID
    val = [[series, label, "", "", "", sop, 100, 90 + 20 * label, "val"] for label in (0, 1)]
    crops = []
    for rows in (points, pixels):
        write_table(tmp_path, f"{HEADER},split", [*rows, *val])
        dataset = load_dicom(tmp_path, 0)
        assert dataset.skipped == ()
        assert [len(dataset.split(split)) for split in ("train", "val")] == [len(points), 2]
        crops.append([pixels_of(sample) for sample in dataset.samples])
    for point, pixel in zip(*crops, strict=True):
        assert np.abs(point - pixel).mean() < 2  # the table rounds to 0.01 mm
        assert pixel[45:55, 45:55].mean() > 150  # a tumour, not lung


def test_a_real_scan_gives_the_same_crop_from_dicom_and_from_nifti(shared):
    source = shared / "data" / "lung_ct_dicom" / "ibsi_lung_pat1"
    nifti = read_nifti(source / "nifti" / "image" / "phantom.nii.gz")
    volume = assemble(source / "ct", salt=b"test").volumes[0]
    scan = turn_to_patient(volume.hu_DHW, volume.affine)
    for index in ((30, 100, 100), (10, 60, 140)):
        point = (nifti.place.affine @ (*index, 1))[:3]
        one, other = (crop(s, point, window=WINDOW_HU) for s in (nifti.scan, scan))
        assert np.array_equal(one, other)
        assert one.std() > 5


def test_one_patient_id_of_two_persons_is_refused_unless_a_column_says_who_is_who(folder):
    def is_jane(dataset):
        dataset.PatientID, dataset.PatientName = "1", "Doe^Jane"
        dataset.PatientBirthDate = "19410203"

    edit_files(folder, is_jane)
    edit_files(folder, lambda d: setattr(d, "PatientName", "Smith^Jane"), "s1/*.dcm")
    with refused("data/too-few-groups", match="one patient"):
        load_dicom(folder, 0)
    edit_files(folder, lambda d: setattr(d, "PatientBirthDate", "19900101"), "s2/*.dcm")
    with refused("data/several-patients", match="PatientBirthDate differs") as caught:
        load_dicom(folder, 0)
    assert "Doe" not in str(caught.value)
    assert "column patient" in caught.value.fix
    edit_table(
        folder,
        lambda lines: [
            f"{lines[0]},patient",
            *(f"{line},{number // 2}" for number, line in enumerate(lines[1:])),
        ],
    )
    assert len(load_dicom(folder, 0).samples) == 12


def test_a_name_that_changes_with_one_birth_date_is_one_person_and_is_told(folder):
    def person(dataset):
        dataset.PatientBirthDate = "19410203"

    edit_files(folder, person)
    for number, name in ((0, "Doe^Jane"), (1, "Smith^Jane")):

        def rename(dataset, name=name):
            dataset.PatientID, dataset.PatientName = "4711", name

        edit_files(folder, rename, f"s{number}/*.dcm")
    dataset = load_dicom(folder, 0)
    (told,) = [note for note in dataset.notes if "PatientID" in note]
    assert "one person of two names" in told
