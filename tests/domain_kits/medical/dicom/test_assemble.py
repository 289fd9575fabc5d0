"""What becomes of a CT series, as it is and mutated: the table is in dicom_mutations_of_*.py."""

import itertools
import os
import random
import shutil
import zipfile

import dicom_mutations_of_files
import numpy as np
import pydicom
import pytest
from dicom_mutations_of_places import gantry_tilt, sagittal, set_heights, set_sideways
from dicom_series import (
    ORIGIN,
    PATIENT,
    ROOT,
    ROW_MM,
    TRUTH_DHW,
    file_of,
    make_slice,
    save,
    write_series,
)

from moekit.testing import refused
from moekit_medical.dicom.assemble import assemble
from moekit_medical.privacy import token

SALT = b"a secret of the tests"
REFUSED = {
    "data/bad-geometry": (
        "directions too long",
        "directions not at right angles",
        "enhanced with a frame too many",
        "frames without a place each",
        "spacing of zero",
        "tilt beyond any gantry",
    ),
    "data/bad-pixels": ("depth that is impossible",),
    "data/cannot-decode": ("compressed garbage",),
    "data/damaged": ("truncated file",),
    "data/duplicate-id": ("one with the identity of another",),
    "data/missing-attribute": (
        "no pixel spacing",
        "no rescale intercept",
        "one without orientation",
        "one without position",
    ),
    "data/missing-slices": (
        "one dropped of thick slices",
        "two dropped of eight",
        "two neighbours dropped",
    ),
    "data/mixed-acquisitions": ("one copied with other voxels", "zigzag"),
    "data/mixed-geometry": ("enhanced of two orientations",),
    "data/no-ct": ("wrong modality", "wrong storage class"),
    "data/no-decoder": ("unknown transfer syntax",),
    "data/no-pixels": ("no pixel data",),
    "data/not-hounsfield": (
        "modality lut table",
        "slope of zero",
        "values that are not hounsfield",
    ),
    "data/several-patients": ("two patients",),
    "data/several-studies": ("two studies",),
    "data/too-large": ("absurd rows",),
    "data/too-few-slices": ("one of another matrix", "two slices left"),
    "data/uneven-slices": ("spacing varies and is wide", "spacing varies much"),
}
"""The mutations that are refused, by the code of the refusal."""
CODES = {name: code for code, names in REFUSED.items() for name in names}


def assemble_all(path):
    """Assembles; every file named is in one place, and the progress reaches its total."""
    steps = []
    assembly = assemble(path, salt=SALT, progress=lambda *step: steps.append(step))
    assert steps == sorted(steps)
    assert not steps or steps[-1][0] == steps[-1][1]
    named = [*itertools.chain(*assembly.used), *(one.file for one in assembly.ignored)]
    named += [name for refusal in assembly.refused for name in refusal.files]
    assert len(named) == len(set(named)), "a file is accounted for twice"
    assert len(assembly.used) == len(assembly.volumes)
    return assembly, set(named)


def tokens_of(folder):
    """Tokens of all that lies in a folder, members of archives that are read in place of them."""
    found, opened = set(), set()
    for path in folder.rglob("*"):
        if path.is_symlink() or path.is_file():
            found.add(token(str(path), salt=SALT))
            if not path.is_symlink() and zipfile.is_zipfile(path):
                with zipfile.ZipFile(path) as archive:
                    members = {token(f"{path}!{name}", salt=SALT) for name in archive.namelist()}
                opened.add((token(str(path), salt=SALT), frozenset(members)))
    return found, opened


def assert_same(one, other):
    assert one.hu_DHW.tobytes() == other.hu_DHW.tobytes()
    assert one.affine.tobytes() == other.affine.tobytes()
    assert (one.repairs, one.sop_uids, one.facts) == (other.repairs, other.sop_uids, other.facts)


def assert_nothing_identifies(assembly, folder, output):
    spoken = [repr(assembly.refused), repr(assembly.ignored), repr(assembly.used), *output]
    for volume in assembly.volumes:
        spoken += [repr(volume.repairs), repr(volume.facts)]
    secrets = (*PATIENT.values(), "MRN-0007", str(folder), "slice3", ".dcm", ROOT)
    assert not [secret for secret in secrets if secret in "".join(spoken)]


def test_each_mutation_has_its_verdict_and_says_why_but_not_whose(mutation, series, capfd, caplog):
    mutation.apply(series)
    caplog.clear()
    assembly, named = assemble_all(series)
    assert_nothing_identifies(assembly, series, [*capfd.readouterr(), caplog.text])
    assert tuple(assembly.verdicts.values()) == mutation.verdict, assembly
    code = CODES.get(mutation.name)
    assert [one.code for one in assembly.refused] == ([code] if code else [])
    said = [*itertools.chain(*(volume.repairs for volume in assembly.volumes))]
    said += [one.reason for one in (*assembly.refused, *assembly.ignored)]
    assert mutation.says in "\n".join(said)
    if mutation.exact:
        volume = assembly.volumes[0]
        assert volume.hu_DHW.dtype == np.float32
        np.testing.assert_allclose(volume.hu_DHW, TRUTH_DHW, atol=1e-3)
    found, opened = tokens_of(series)
    for archive, members in opened:
        if archive not in named:
            found = (found - {archive}) | members
    assert named == found


def test_the_result_does_not_depend_on_names(mutation, series, tmp_path):
    """The files lie in two folders under other names; the volumes must be equal byte for byte."""
    mutation.apply(series)
    files = sorted(path for path in series.rglob("*") if path.is_file() and not path.is_symlink())
    random.Random(1).shuffle(files)
    other = tmp_path / "other"
    for number, path in enumerate(files):
        target = other / str(number % 2) / f"{number:03}"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    one, two = assemble(series, salt=SALT), assemble(other, salt=SALT)
    for first, second in zip(one.volumes, two.volumes, strict=True):
        assert_same(first, second)
    assert one.verdicts == two.verdicts
    assert [r.series for r in one.refused] == [r.series for r in two.refused]
    assert sorted(
        i.reason for i in one.ignored if "link" not in i.reason and "No such" not in i.reason
    ) == sorted(i.reason for i in two.ignored)


def test_a_volume_is_placed_as_its_slices_say(series):
    volume = assemble(series, salt=SALT).volumes[0]
    expected = np.add(ORIGIN, [2 * 0.7, 5 * 0.8, 3 * 2.5])
    np.testing.assert_allclose(volume.to_patient(np.array([[3.0, 5.0, 2.0]])), [expected])
    assert volume.sop_uids == tuple(f"{ROOT}1.{index + 1}" for index in range(8))
    assert volume.series_uid == f"{ROOT}1"
    assert volume.facts == {
        "manufacturer": "Maker",
        "kvp": "120",
        "patient_sex": "F",
        "patient_age_years": "83",
    }


def test_a_sagittal_volume_is_ordered_along_its_normal(series):
    sagittal(series)
    volume = assemble(series, salt=SALT).volumes[0]
    # The row goes to the back, the column to the feet, so the normal goes to the right.
    np.testing.assert_allclose(volume.affine[:3, :3], [[-2.5, 0, 0], [0, 0, 0.7], [0, -0.8, 0]])
    np.testing.assert_allclose(volume.affine[:3, 3], [50, -20, 90])


def test_a_tilted_volume_holds_each_voxel_where_it_was(series):
    gantry_tilt(series)
    volume = assemble(series, salt=SALT).volumes[0]
    assert volume.hu_DHW.shape == (8, 16 + 7, 18)
    np.testing.assert_allclose(volume.affine[:3, 0], [0, 0, 2.5], atol=1e-9)
    for index in range(8):
        place = np.add([ORIGIN], [0, index * 0.8, index * 2.5])
        d, h, w = np.rint(volume.to_index(place)).astype(int)[0]
        assert (d, w) == (index, 0)
        np.testing.assert_allclose(volume.hu_DHW[d, h : h + 16], TRUTH_DHW[index], atol=1e-3)
        outside = np.delete(volume.hu_DHW[d], range(h, h + 16), axis=0)
        assert (outside == -1024).all()


def test_a_tilt_of_fractions_of_a_pixel_is_interpolated(series):
    set_sideways(series, [-0.3 * ROW_MM * index for index in range(8)])
    volume = assemble(series, salt=SALT).volumes[0]
    inside = np.add(np.argwhere((volume.hu_DHW > -200)[:, 3:-3, 2:-2]), [0, 3, 2])
    place = volume.to_patient(inside.astype(float)) - np.array(ORIGIN)
    d = place[:, 2] / 2.5
    h = (place[:, 1] + 0.3 * 0.8 * d) / 0.8
    expected = 10 * d + 3 * h - 2 * place[:, 0] / 0.7
    np.testing.assert_allclose(volume.hu_DHW[tuple(inside.T)], expected, atol=1e-2)


def test_resampling_to_a_regular_spacing_keeps_ends_and_values(series):
    heights = np.array([0, 2, 4, 6, 8, 11, 14, 17], dtype=float)
    set_heights(series, heights)
    volume = assemble(series, salt=SALT).volumes[0]
    step, total = volume.spacing_mm[0], len(volume.hu_DHW)
    assert step * (total - 1) == pytest.approx(17)
    expected = np.interp(np.arange(total) * step, heights, 10.0 * np.arange(8))
    np.testing.assert_allclose(volume.hu_DHW[:, 0, 0], expected, atol=1e-3)
    nearest = [int(uid.rsplit(".", 1)[1]) - 1 for uid in volume.sop_uids]
    gaps = np.abs(heights[:, None] - np.arange(total) * step)
    np.testing.assert_allclose(gaps[nearest, range(total)], gaps.min(axis=0), atol=1.0)


@pytest.mark.parametrize("name", ["padding", "padding_range", "padding_written_beyond_bits_stored"])
def test_padding_becomes_air_and_the_rest_stays(series, name):
    getattr(dicom_mutations_of_files, name)(series)
    volume = assemble(series, salt=SALT).volumes[0]
    assert (volume.hu_DHW[:, :, 0] == -1024).all()
    np.testing.assert_array_equal(volume.hu_DHW[:, :, 1:], TRUTH_DHW[:, :, 1:])


def test_a_file_that_cannot_be_decoded_is_named_by_its_token(series):
    dicom_mutations_of_files.compressed_garbage(series)
    write_series(series / "second", series="2")
    assembly = assemble(series, salt=SALT)
    assert assembly.verdicts == {"ok": 1, "repaired": 0, "refused": 1}
    assert token(str(file_of(series, 5)), salt=SALT) in assembly.refused[0].reason
    assert "gdcmconv" in assembly.refused[0].fix or "again" in assembly.refused[0].fix


def test_a_folder_that_holds_half_a_series_twice_gives_it_once(series):
    write_series(series / "again")
    volume = assemble(series, salt=SALT).volumes[0]
    assert volume.repairs == ("Copies of slices were left out: 8.",)


def test_a_single_file_is_accounted_for(series):
    assembly, named = assemble_all(file_of(series, 0))
    assert "fewer than 3" in assembly.refused[0].reason
    assert named == {token(str(file_of(series, 0)), salt=SALT)}


def test_a_pipe_is_not_opened(series):
    os.mkfifo(series / "pipe")
    assembly, _ = assemble_all(series)
    assert assembly.ignored[0].reason == "neither a file nor a folder"


def test_a_deflated_bomb_is_not_inflated(series, monkeypatch):
    monkeypatch.setattr("moekit_medical.dicom.reading.MAX_FILE_BYTES", 2**20)
    bomb = make_slice(8)
    bomb.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    bomb.PixelData = bytes(2**22)
    save(bomb, series / "bomb")
    assembly, _ = assemble_all(series)
    assert assembly.verdicts == {"ok": 1, "repaired": 0, "refused": 0}
    assert assembly.ignored[0].reason == "too large: more than 1 GiB when inflated"


def test_nothing_at_the_path_is_an_error_without_the_path(tmp_path):
    with refused("data/not-found") as caught:
        assemble(tmp_path / "Doe_Jane", salt=SALT)
    assert "Doe" not in str(caught.value)


def test_an_empty_folder_gives_an_empty_assembly(tmp_path):
    assembly, named = assemble_all(tmp_path)
    assert assembly.verdicts == {"ok": 0, "repaired": 0, "refused": 0}
    assert named == set()


def test_an_interruption_by_the_caller_is_passed_on(series):
    def stop(done, total):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        assemble(series, salt=SALT, progress=stop)
