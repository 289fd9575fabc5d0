"""Series whose slices contradict each other, or that are no CT of Hounsfield units."""

import numpy as np
import pydicom
import pytest
from dicom_series import SLICES, TRUTH_DHW, edit, file_of, make_slice, save, set_values
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    VLWholeSlideMicroscopyImageStorage,
)

from moekit_medical.dicom.assemble import assemble
from moekit_medical.dicom.kinds import why_no_slice
from moekit_medical.dicom.lossless import register

SALT = b"a secret of the tests"


def refusal(folder):
    assembly = assemble(folder, salt=SALT)
    assert not assembly.volumes
    (one,) = assembly.refused
    return one.code, one.reason


def repairs(folder):
    (volume,) = assemble(folder, salt=SALT).volumes
    return volume.repairs


def alternate(keyword, first, second):
    def change(dataset, index):
        setattr(dataset, keyword, (first, second)[index % 2])

    return change


@pytest.mark.parametrize("only", [[3], range(SLICES)])
def test_values_that_no_ct_has_are_refused(series, only):
    edit(series, lambda d, i: setattr(d, "RescaleIntercept", -9216), only=only)
    assert refusal(series)[0] == "data/not-hounsfield"


def test_a_slice_shifted_by_a_byte_is_refused(series):
    edit(series, lambda d, i: setattr(d, "PixelData", b"\x07" + d.PixelData[:-1]), only=[3])
    assert refusal(series)[0] == "data/not-hounsfield"


def test_a_slice_of_another_sign_of_its_slope_is_refused(series):
    edit(series, lambda d, i: setattr(d, "RescaleSlope", -1), only=[2])
    assert refusal(series) == (
        "data/contradiction",
        "RescaleSlope is positive in some slices and negative in others",
    )


def test_a_slice_of_another_representation_is_refused(series):
    edit(series, lambda d, i: setattr(d, "PixelRepresentation", 1), only=[2])
    code, reason = refusal(series)
    assert code == "data/contradiction"
    assert reason.startswith("PixelRepresentation differs")


@pytest.mark.parametrize(("keyword", "value"), [("RescaleSlope", 2), ("RescaleIntercept", 0)])
def test_a_slice_of_another_scaling_that_does_not_fit_is_refused(series, keyword, value):
    edit(series, lambda d, i: setattr(d, keyword, value), only=[4])
    assert refusal(series)[0] == "data/contradiction"


def test_a_slice_of_another_scaling_that_fits_is_taken(series):
    def change(dataset, index):
        set_values(dataset, 2 * (TRUTH_DHW[index] + 600))
        dataset.RescaleSlope, dataset.RescaleIntercept = 0.5, -600

    edit(series, change, only=[4])
    (volume,) = assemble(series, salt=SALT).volumes
    np.testing.assert_allclose(volume.hu_DHW, TRUTH_DHW)
    assert volume.repairs == ()


def test_a_slice_of_one_value_among_others_is_told(series):
    edit(series, lambda d, i: set_values(d, np.zeros_like(TRUTH_DHW[i])), only=[4])
    assert repairs(series) == (f"Slices of one value each: 1 of {SLICES} (number 5).",)


@pytest.mark.parametrize(
    ("keyword", "first", "second"),
    [
        ("AcquisitionNumber", 1, 2),
        ("AcquisitionTime", "100000", "100100"),
        ("AcquisitionUID", "1.2.3", "1.2.4"),
        ("TemporalPositionIdentifier", 1, 2),
        ("NominalPercentageOfCardiacPhase", 40.0, 75.0),
        ("KVP", "80", "140"),
        ("ConvolutionKernel", "B30f", "B70f"),
    ],
)
def test_acquisitions_that_lie_between_each_other_are_refused(series, keyword, first, second):
    edit(series, alternate(keyword, first, second))
    code, reason = refusal(series)
    assert code == "data/mixed-acquisitions"
    assert keyword in reason


def test_acquisitions_one_after_the_other_and_times_of_each_slice_are_taken(series):
    def change(dataset, index):
        dataset.AcquisitionNumber = 1 + index // 4
        dataset.AcquisitionTime = f"1000{index:02}"

    edit(series, change)
    assert repairs(series) == ()


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("PatientName", "Roe^Richard"), ("PatientBirthDate", "19900101"), ("PatientSex", "M")],
)
def test_two_persons_under_one_patient_id_are_refused_without_their_names(series, keyword, value):
    edit(series, lambda d, i: setattr(d, keyword, value), only=range(4))
    code, reason = refusal(series)
    assert code == "data/several-patients"
    assert keyword in reason
    assert value not in reason


def test_one_person_written_in_two_ways_is_one(series):
    edit(series, lambda d, i: setattr(d, "PatientName", "DOE^JANE^^^"), only=range(4))
    edit(series, lambda d, i: delattr(d, "PatientBirthDate"), only=[5])
    assert repairs(series) == ()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("MINIP", "projection"),
        ("CSA MIP", "projection"),
        ("AXIAL_MIP", "projection"),
        ("SUBTRACTION", "difference"),
        ("IODINE", "material"),
        ("DET_IODINE_MAP", "material"),
        ("MAT_SPECIFIC", "material"),
        ("EFF_ATOMIC_NUM", "material"),
        ("TOPOGRAM", "localizer"),
        ("LOCALIZER", "localizer"),
        ("SCOUT", "localizer"),
        ("CBF", "perfusion"),
        ("VRT", "rendering"),
    ],
)
def test_image_types_that_are_no_slices_are_left_aside_with_the_reason(series, value, says):
    edit(series, lambda d, i: setattr(d, "ImageType", ["DERIVED", "SECONDARY", "AXIAL", value]))
    assembly = assemble(series, salt=SALT)
    assert not assembly.volumes
    assert len(assembly.ignored) == SLICES
    assert all(says in one.reason for one in assembly.ignored)


@pytest.mark.parametrize(
    "image_type",
    [
        r"ORIGINAL\PRIMARY\AXIAL",
        r"DERIVED\SECONDARY\MPR",
        r"DERIVED\SECONDARY\AXIAL\AVERAGE",
        r"ORIGINAL\PRIMARY\AXIAL\CT_SOM5 SPI",
        r"DERIVED\PRIMARY\AXIAL\VMI",
        "",
    ],
)
def test_slices_of_hounsfield_units_are_slices(image_type):
    assert why_no_slice(image_type) == ""


def test_a_slide_is_not_called_a_secondary_capture(series):
    slide = make_slice(SLICES)
    slide.SOPClassUID = VLWholeSlideMicroscopyImageStorage
    slide.Modality = "SM"
    slide.SeriesInstanceUID += ".7"
    save(slide, series / "slide")
    assembly = assemble(series, salt=SALT)
    said = [one.reason for one in (*assembly.refused, *assembly.ignored)]
    assert said == ["the modality is SM, not CT"]


def test_a_file_compressed_by_gzip_says_so(series):
    (series / "a.dcm.gz").write_bytes(b"\x1f\x8b\x08" + bytes(300))
    (one,) = assemble(series, salt=SALT).ignored
    assert one.reason == "compressed by gzip (.gz); unpack it first"


def test_loss_is_told(series):
    def change(dataset, _index):
        dataset.LossyImageCompression, dataset.LossyImageCompressionRatio = "01", "12.5"

    edit(series, change, only=[1, 2])
    (sentence,) = repairs(series)
    assert sentence.startswith("Compressed with loss: 2 of 8 slices (12.5 to 1)")


def test_a_transfer_syntax_that_always_loses_is_told(series):
    from moekit_medical.dicom.kinds import loss

    assert loss("", [], JPEGBaseline8Bit) == "unstated ratio"
    assert loss("", [], JPEG2000Lossless) == loss("00", ["4"], JPEG2000Lossless) == ""


def test_the_body_part_is_a_fact_if_it_is_one_of_the_list(series):
    edit(series, lambda d, i: setattr(d, "BodyPartExamined", "BRAIN"))
    (volume,) = assemble(series, salt=SALT).volumes
    assert volume.facts["body_part"] == "BRAIN"
    edit(series, lambda d, i: setattr(d, "BodyPartExamined", "DOE JANE"))
    (volume,) = assemble(series, salt=SALT).volumes
    assert "body_part" not in volume.facts


def j2k(values, *, signed):
    """A JPEG 2000 codestream whose header says whether its values are signed."""
    imagecodecs = pytest.importorskip("imagecodecs")
    data = bytearray(
        imagecodecs.jpeg2k_encode(values.astype("<u2"), codecformat="j2k", reversible=True, level=0)
    )
    place = data.index(b"\xff\x51") + 40  # Ssiz of the first component (ISO 15444-1 A.5.1)
    assert data[place] & 0x7F == 15
    data[place] = (0x80 if signed else 0) | 15
    return bytes(data)


@pytest.mark.parametrize("header_signed", [0, 1])
@pytest.mark.parametrize("stream_signed", [0, 1])
def test_the_sign_of_jpeg_2000_data_and_of_the_header(series, header_signed, stream_signed):
    def change(dataset, index):
        dataset.PixelData = encapsulate([j2k(TRUTH_DHW[index] + 1024, signed=bool(stream_signed))])
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
        dataset.PixelRepresentation = header_signed
        dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
        dataset.RescaleIntercept = -1024 + (32768 if stream_signed else 0)

    edit(series, change)
    if (header_signed, stream_signed) == (0, 1):
        code, reason = refusal(series)
        assert code == "data/contradiction"
        assert "JPEG 2000" in reason
    elif (header_signed, stream_signed) == (1, 0):
        assert "JPEG 2000" in repairs(series)[0]
    else:
        (volume,) = assemble(series, salt=SALT).volumes
        assert not [one for one in volume.repairs if "JPEG" in one]


def test_a_deflated_file_that_inflates_without_bound_is_left_aside(series):
    def change(dataset, _index):
        dataset.PixelData = bytes(2**25)
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian

    edit(series, change, only=[2])
    assert file_of(series, 2).stat().st_size < 2**17
    reasons = [one.reason for one in assemble(series, salt=SALT).ignored]
    assert reasons == ["inflates to more than 200 times its size; it may be a trap"]


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", [12, 16])
def test_jpeg_lossless_is_decoded(series, bits, signed):
    imagecodecs = pytest.importorskip("imagecodecs")

    def change(dataset, index):
        values = TRUTH_DHW[index] + (0 if signed else 1024)
        set_values(dataset, values, bits=bits, signed=signed)
        dataset.RescaleIntercept = 0 if signed else -1024
        stored = values.astype(np.int32).astype("<u2") & ((1 << bits) - 1)
        frame = imagecodecs.ljpeg_encode(stored.astype(np.uint16), bitspersample=bits)
        dataset.PixelData = encapsulate([frame])
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
        dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1

    edit(series, change)
    (volume,) = assemble(series, salt=SALT).volumes
    np.testing.assert_array_equal(volume.hu_DHW, TRUTH_DHW)
    assert volume.repairs == ()


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_jpeg_that_is_cut_and_has_an_end_is_refused(series, share):
    """The decoder makes the rest up."""
    imagecodecs = pytest.importorskip("imagecodecs")

    def change(dataset, index):
        set_values(dataset, TRUTH_DHW[index] + 1024, bits=12, signed=False)
        dataset.RescaleIntercept = -1024
        stored = np.frombuffer(dataset.PixelData, "<u2").reshape(TRUTH_DHW[index].shape)
        frame = imagecodecs.ljpeg_encode(stored, bitspersample=12)
        if index == 3:
            frame = frame[: int(share * len(frame))].rstrip(b"\xff") + b"\xff\xd9"
        dataset.PixelData = encapsulate([frame])
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
        dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1

    edit(series, change)
    assert refusal(series)[0] == "data/damaged"


def test_a_public_file_in_jpeg_lossless_has_the_pixels_of_its_plain_copy():
    register()
    path = get_testdata_file("JPEG-LL.dcm", download=False) or get_testdata_file(
        "SC_rgb_jpeg_lossless.dcm", download=False
    )
    if path is None:
        pytest.skip("pydicom-data is not installed")
    image = pydicom.dcmread(path)
    assert image.pixel_array.shape[:2] == (image.Rows, image.Columns)
    assert image.pixel_array.std() > 10
