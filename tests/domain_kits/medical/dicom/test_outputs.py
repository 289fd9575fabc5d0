"""What moekit wrote inside a folder of slices is no input, and above all no truth."""

import contextlib

from moekit_medical.dicom.sources import Archives, find_sources
from moekit_medical.inference.earlier import begin_summary, series_of
from moekit_medical.loaders.series_scan import look_through


def written(folder):
    begin_summary(folder / "series.json", {"kit": "a"})
    (folder / "0a1b").mkdir()
    (folder / "0a1b/segmentation.dcm").write_bytes(b"an answer")
    return folder


def sources_of(folder):
    with contextlib.closing(Archives()) as archives:
        return find_sources(folder, salt=b"salt", archives=archives)


def test_segmentations_that_were_predicted_are_left_out_and_counted(tmp_path):
    (tmp_path / "slice.dcm").write_bytes(b"a slice")
    (tmp_path / "study").mkdir()
    (tmp_path / "study/slice.dcm").write_bytes(b"another")
    written(tmp_path / "study/found")
    found, ignored = sources_of(tmp_path)
    assert len(found) == 2
    assert [one.reason for one in ignored] == ["a folder that moekit wrote (answers of predict)"]
    written(tmp_path / "scored")
    scan = look_through(tmp_path, salt=b"salt", sops=())
    assert sorted(unit.path.name for unit in scan.units) == ["slice.dcm", "study"]
    (note,) = scan.notes
    assert note.startswith("2 of the folders below are left out")
    assert "scored" not in note


def test_the_folder_that_is_named_is_read(tmp_path):
    assert len(sources_of(written(tmp_path / "out"))[0]) == 2


def test_a_folder_is_marked_before_its_first_file_and_what_it_names_stays(tmp_path):
    path = tmp_path / "series.json"
    begin_summary(path, {})
    assert series_of(path) == set()
    path.write_text(
        '{"disclaimer": "", "settings": {}, "provenance": {}, "series": [{"series": "0a"}]}'
    )
    begin_summary(path, {})
    assert series_of(path) == {"0a"}
