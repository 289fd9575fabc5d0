"""The loader of NIfTI volumes, on its example and on volumes that are wrong."""

import gzip
import os
import shutil

import numpy as np
import pytest
from loader_tables import SECRET, edit_table, pixels_of, text_of, write_table
from nibabel.nifti1 import Nifti1Image
from nibabel.nifti2 import Nifti2Image

from moekit.testing import refused
from moekit_medical.loaders.crops import CropError
from moekit_medical.loaders.examples import write_nifti_example
from moekit_medical.loaders.nifti import load_nifti
from moekit_medical.loaders.nifti_file import PICTURE, read_nifti, read_values

VOXELS_IJK = np.random.default_rng(0).integers(-900, 300, (40, 36, 5)).astype(np.int16)
RAS = np.array([[-1.5, 0, 0, 10], [0, -1.5, 0, 20], [0, 0, 2.5, -30], [0, 0, 0, 1.0]])


@pytest.fixture
def folder(tmp_path):
    return write_nifti_example(tmp_path)


def by_line(dataset):
    return {int(sample.id.partition("/")[2]): sample for sample in dataset.samples}


def reason(path):
    with pytest.raises(CropError) as caught:
        read_nifti(path)
    assert str(path.parent) not in str(caught.value)
    return str(caught.value)


def patch(path, place, content):
    data = bytearray(path.read_bytes())
    data[place : place + len(content)] = content
    path.write_bytes(data)


def test_each_candidate_is_a_crop_with_its_finding_in_the_middle(folder):
    dataset = load_nifti(folder, 0)
    assert len(dataset.samples) == 12
    assert dataset.skipped == ()
    assert "50 x 50 mm" in dataset.source
    assert "-1000 to 400 HU" in dataset.source
    for sample in dataset.samples:
        pixels = pixels_of(sample)
        assert pixels.shape == (100, 100)
        hu = pixels[49:51, 49:51].mean() / 255 * 1400 - 1000
        assert abs(hu - (50 if sample.label else -500)) < 120
        assert pixels[40:60, 40:60].mean() > pixels[80:].mean() + 30


def test_patients_stay_together_and_the_seed_decides_where(folder):
    first, again = (load_nifti(folder, 0) for _ in range(2))
    others = [load_nifti(folder, seed) for seed in range(1, 6)]
    assert first == again
    assert {s.group for s in first.samples} == {f"patient of line {line}" for line in (2, 4, 6)}
    assert len({(s.group, s.split) for s in first.samples}) == 3
    assert any(other.samples != first.samples for other in others)


def test_without_patients_each_volume_is_a_group_and_copies_of_it_are_the_same(folder):
    edit_table(folder, lambda lines: [line.replace("patient", "remark") for line in lines])
    groups = [sample.group for sample in load_nifti(folder, 0).samples]
    assert len(set(groups)) == 6
    shutil.copy(folder / "v0.nii.gz", folder / "v5.nii.gz")
    groups = [sample.group for sample in load_nifti(folder, 0).samples]
    assert len(set(groups)) == 5
    assert groups[0] == groups[-1] == "volume of line 2"


def test_a_patient_in_two_splits_is_refused(folder):
    splits = ["train", "val", "test", "train", "val", "val"]

    def change(lines):
        return [f"{lines[0]},split", *(f"{t},{splits[i // 2]}" for i, t in enumerate(lines[1:]))]

    edit_table(folder, change)
    with refused("data/leaking-group", match="'patient of line 6'"):
        load_nifti(folder, 0)
    edit_table(folder, lambda lines: [*lines[:-2], *(f"{t[:-3]}test" for t in lines[-2:])])
    dataset = load_nifti(folder, 0)
    assert dataset.split_note == "column split, as given"
    assert [s.split for s in dataset.samples[:6:2]] == ["train", "val", "test"]


def test_indices_and_millimetres_name_the_same_place(folder):
    def change(lines):
        changed = ["volume,label,patient,d,h,w"]
        for line in lines[1:]:
            *cells, x, y, z = line.split(",")
            changed.append(
                ",".join([*cells, *(str(float(a) / b) for a, b in ((z, 2.5), (y, 2), (x, 2)))])
            )
        return changed

    before = [pixels_of(sample) for sample in load_nifti(folder, 0).samples]
    edit_table(folder, change)
    after = [pixels_of(sample) for sample in load_nifti(folder, 0).samples]
    assert np.array_equal(before, after)


def test_the_window_is_an_option(folder):
    usual = load_nifti(folder, 0).samples[1]
    narrow = load_nifti(folder.with_name(f"{folder.name}?window=-160,240"), 0).samples[1]
    assert pixels_of(narrow)[5, 5] == 0 < pixels_of(usual)[5, 5]
    assert usual.id == narrow.id
    assert usual.path != narrow.path


@pytest.mark.parametrize("text", ["400,-1000", "5,5", "1", "1,2,3", "a,b", "nan,1", "-inf,1"])
def test_a_window_that_is_none_is_refused(folder, text):
    with refused("data/bad-option"):
        load_nifti(folder.with_name(f"{folder.name}?window={text}"), 0)


def test_crops_are_kept_until_the_content_of_the_volume_changes(folder):
    before = by_line(load_nifti(folder, 0))
    Nifti1Image(np.zeros((32, 32, 4), np.int16) - 77, np.diag([-2, -2, 2.5, 1])).to_filename(
        folder / "v0.nii.gz"
    )
    after = by_line(load_nifti(folder, 0))
    assert before[4] == after[4]
    assert before[2].path != after[2].path


def test_a_damaged_crop_is_named_and_made_again(folder):
    sample = load_nifti(folder, 0).samples[0]
    whole = sample.path.read_bytes()
    sample.path.write_bytes(whole[:30])
    with refused("data/damaged-cache", match=sample.path.name):
        load_nifti(folder, 0)
    assert load_nifti(folder, 0).samples[0] == sample
    assert sample.path.read_bytes() == whole


def test_volumes_that_cannot_be_used_are_skipped_with_the_reason(folder):
    (folder / "v0.nii.gz").unlink()
    (folder / "v1.nii.gz").write_bytes(b"")
    (folder / "v2.nii.gz").write_bytes((folder / "v2.nii.gz").read_bytes()[:1000])
    dataset = load_nifti(folder, 0)
    reasons = [skip.reason for skip in dataset.skipped]
    assert len(reasons) == 6
    assert len(dataset.samples) == 6
    assert "does not exist" in reasons[0]
    assert "empty" in reasons[2]
    assert "truncated or damaged" in reasons[4]
    assert load_nifti(folder, 0) == dataset


def test_a_centre_outside_the_volume_is_skipped(folder):
    edit_table(folder, lambda lines: [lines[0], f"{lines[1].rpartition(',')[0]},9999", *lines[2:]])
    assert [skip.reason for skip in load_nifti(folder, 0).skipped] == [
        "its centre lies outside the volume"
    ]


def test_no_name_of_a_file_or_a_patient_is_repeated(folder):
    for path in folder.glob("*.nii.gz"):
        path.rename(folder / f"{SECRET}{path.name}")
    edit_table(
        folder,
        lambda lines: [
            lines[0],
            *(f"{SECRET}{t}".replace(",p", f",{SECRET}") for t in lines[1:]),
        ],
    )
    (folder / f"{SECRET}v0.nii.gz").write_bytes(b"nothing")
    dataset = load_nifti(folder, 0)
    assert len(dataset.skipped) == 2
    assert SECRET not in text_of(dataset)
    assert str(folder) not in text_of(dataset)
    assert SECRET not in "".join(str(sample.path) for sample in dataset.samples)


@pytest.mark.parametrize(
    ("line", "code", "named"),
    [
        (f"../{SECRET}.nii,0,p,1,2,3,,,", "data/bad-path", ""),
        (f"{SECRET}.mha,0,p,1,2,3,,,", "data/unknown-format", ".nii.gz"),
        ("v0.nii.gz,0,p,,,,,,", "data/column-conflict", "x,y,z"),
        ("v0.nii.gz,0,p,1,2,3,1,2,3", "data/column-conflict", "x,y,z"),
        ("v0.nii.gz,0,p,1,,3,,,", "data/bad-value", "x, y, z"),
        ("v0.nii.gz,0,p,1,nan,3,,,", "data/bad-value", "x, y, z"),
        ("v0.nii.gz,0,p,1,1e9,3,,,", "data/bad-value", "x, y, z"),
        (f"v0.nii.gz,0,p,,,,{SECRET},1,1", "data/bad-value", "d, h, w"),
        ("v0.nii.gz,2,p,1,2,3,,,", "data/unknown-class", ""),
    ],
)
def test_a_line_that_cannot_be_meant_is_refused(tmp_path, line, code, named):
    header = "volume,label,patient,x,y,z,d,h,w"
    write_table(tmp_path, header, [["v0.nii.gz", 0, "p", 1, 2, 3, "", "", ""], line.split(",")])
    with refused(code, match=named) as caught:
        load_nifti(tmp_path, 0)
    assert caught.value.whose == "labels.csv, line 3"
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("kind", [Nifti1Image, Nifti2Image])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_voxels_scale_and_place_are_those_of_the_file(tmp_path, kind, suffix):
    image = kind(VOXELS_IJK, RAS)
    image.header.set_slope_inter(2.0, -1024.0)
    image.to_filename(tmp_path / f"a{suffix}")
    volume = read_values(tmp_path / f"a{suffix}")
    stored = np.asanyarray(type(image).from_filename(tmp_path / f"a{suffix}").dataobj)
    assert np.allclose(volume.scan.hu_DHW, stored.T)
    place = volume.place.affine @ (3, 7, 11, 1)
    ras = RAS @ (11, 7, 3, 1)
    assert np.allclose(place[:3], ras[:3] * (-1, -1, 1))
    assert volume.place.is_placed


def test_big_endian_and_a_fourth_axis_of_one_are_read(tmp_path):
    header = Nifti1Image(VOXELS_IJK[..., None], RAS).header.as_byteswapped(">")
    Nifti1Image(VOXELS_IJK[..., None], RAS, header).to_filename(tmp_path / "a.nii")
    assert np.array_equal(read_nifti(tmp_path / "a.nii").scan.hu_DHW, VOXELS_IJK.T)


def test_a_volume_without_a_place_can_be_used_by_indices_alone(folder):
    for path in folder.glob("*.nii.gz"):
        data = bytearray(gzip.decompress(path.read_bytes()))
        data[252:256] = bytes(4)  # qform_code, sform_code
        path.write_bytes(gzip.compress(data))
    edit_table(folder, lambda lines: [f"{lines[0]},d,h,w", *(f"{t},,," for t in lines[1:])])

    def by_index(lines):
        cells = [line.split(",") for line in lines[1:-2]]
        return [
            lines[0],
            *(",".join([*c[:3], "", "", "", "1", "10", str(9 + i)]) for i, c in enumerate(cells)),
            *lines[-2:],
        ]

    edit_table(folder, by_index)
    dataset = load_nifti(folder, 0)
    assert len(dataset.samples) == 10
    assert {skip.reason for skip in dataset.skipped} == {
        "the volume has no qform or sform, so only d,h,w can be used"
    }


@pytest.mark.parametrize(
    ("place", "content", "says"),
    [
        (344, b"ni1\0", "not a NIfTI volume in one file"),  # magic
        (40, b"\x02\0" * 3, "does not hold exactly one volume"),  # dim: two axes
        (40, b"\x04\0\x28\0\x24\0\x05\0\x02\0", "does not hold exactly one volume"),
        (42, b"\0\x10\0\x10\0\x10", "claims more than"),  # dim 4096 each
        (42, b"\xff\x03\xff\x03", "more voxels than the file can hold"),
        (42, b"\xff\xff", "does not hold exactly one volume"),  # a negative side
        (70, b"\x20\0", "neither integers nor"),  # datatype: complex
        (70, b"\x80\0", "neither integers nor"),  # datatype: colour
        (70, b"\x77\x77", "truncated or damaged"),  # datatype: unknown
        (108, b"\0\0\x80\x4c", "claims more than"),  # vox_offset 2**26
        (123, b"\x01", "not between 0.001 and 100.0 mm"),  # xyzt_units: metre
        (123, b"\x05", "the unit of length is none"),
        (280, bytes(16), "not between 0.001 and 100.0 mm"),  # srow_x
        (280, b"\0\0\xc0\x7f" * 4, "not between 0.001 and 100.0 mm"),
        (296, b"\0\0\xc0\xc0", "not at right angles"),  # srow_y[0]: -6
    ],
)
def test_a_header_that_lies_is_refused(tmp_path, place, content, says):
    path = tmp_path / "a.nii"
    Nifti1Image(VOXELS_IJK, RAS).to_filename(path)
    patch(path, place, content)
    assert says in reason(path)


@pytest.mark.parametrize("keep", [0, 3, 347, 352, 1000, -1])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_truncated_file_is_refused(tmp_path, keep, suffix):
    path = tmp_path / f"a{suffix}"
    Nifti1Image(VOXELS_IJK, RAS).to_filename(path)
    path.write_bytes(path.read_bytes()[:keep])
    assert reason(path)


def test_a_compressed_volume_that_claims_more_than_it_can_hold_is_refused_unread(tmp_path):
    data = bytearray(Nifti1Image(VOXELS_IJK, RAS).to_bytes())
    data[42:48] = b"\xff\x03\xff\x03\xff\x03"  # 1023 x 1023 x 1023
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(data))
    assert "more voxels than the file can hold" in reason(tmp_path / "a.nii.gz")


def test_a_changed_bit_in_a_compressed_volume_is_noticed(tmp_path):
    path = tmp_path / "a.nii.gz"
    data = Nifti1Image(VOXELS_IJK, RAS).to_bytes()
    path.write_bytes(gzip.compress(data, compresslevel=0))
    patch(path, 5000, bytes([path.read_bytes()[5000] ^ 1]))
    assert "truncated or damaged" in reason(path)


def test_a_compressed_file_that_goes_on_and_on_is_refused(tmp_path):
    data = Nifti1Image(VOXELS_IJK, RAS).to_bytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(data + bytes(2**22)))
    assert "more than the volume" in reason(tmp_path / "a.nii.gz")


def test_extensions_are_never_read(tmp_path):
    data = bytearray(Nifti1Image(VOXELS_IJK, RAS).to_bytes())
    data[348:352] = b"\x01\0\0\0"
    extension = (2**31 - 16).to_bytes(4, "little") + b"\x02\0\0\0" + SECRET.encode()
    extension += bytes(32 - len(extension))
    data[108:112] = np.float32(352 + 32).tobytes()
    (tmp_path / "a.nii").write_bytes(data[:352] + extension + data[352:])
    assert np.array_equal(read_nifti(tmp_path / "a.nii").scan.hu_DHW, VOXELS_IJK.T)


def test_a_pipe_in_place_of_a_volume_is_skipped(folder):
    (folder / "v0.nii.gz").unlink()
    os.mkfifo(folder / "v0.nii.gz")
    assert len(load_nifti(folder, 0).skipped) == 2


def test_voxels_that_begin_within_the_header_are_refused(tmp_path):
    for number, (image, place, zero) in enumerate(
        [
            (Nifti1Image(VOXELS_IJK, RAS), 108, bytes(4)),
            (Nifti2Image(VOXELS_IJK, RAS), 168, bytes(8)),
        ]
    ):
        path = tmp_path / f"{number}.nii"
        image.to_filename(path)
        patch(path, place, zero)
        assert "begin within the header" in reason(path)


def test_voxels_that_the_header_leaves_out_are_refused_and_zeros_are_not(tmp_path):
    path = tmp_path / "a.nii"
    Nifti1Image(VOXELS_IJK, RAS).to_filename(path)
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(1000))
    assert read_nifti(path).values_KJI.shape == (5, 36, 40)
    path.write_bytes(whole)
    patch(path, 46, (4).to_bytes(2, "little"))  # one slice less
    assert "more than the volume" in reason(path)
    path.write_bytes(whole)
    patch(path, 70, bytes([2, 0, 8, 0]))  # bytes in place of two each
    assert "more than the volume" in reason(path)


def test_a_scaling_without_end_is_refused(tmp_path):
    path = tmp_path / "a.nii"
    Nifti1Image(VOXELS_IJK, RAS).to_filename(path)
    patch(path, 112, np.float32(np.inf).tobytes())
    assert "no finite number" in reason(path)


def test_grey_levels_of_a_picture_are_told(tmp_path):
    path = tmp_path / "a.nii"
    Nifti1Image((VOXELS_IJK + 900) // 8, RAS).to_filename(path)
    assert PICTURE in read_nifti(path).repairs
    Nifti1Image(VOXELS_IJK, RAS).to_filename(path)
    assert PICTURE not in read_nifti(path).repairs
