"""Mutations of names, folders, archives and encodings."""

import zipfile

import numpy as np
import pydicom
from dicom_series import (
    OK,
    REFUSED,
    REPAIRED,
    ROOT,
    ROWS,
    SLICES,
    TRUTH_DHW,
    edit,
    file_of,
    make_slice,
    mutation,
    save,
    set_values,
)
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGLosslessSV1,
    MediaStorageDirectoryStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
)

# Names, folders and files that are not slices.


@mutation(OK, exact=True)
def untouched(folder):
    pass


@mutation(OK, exact=True)
def names_shuffled(folder):
    for index in range(SLICES):
        file_of(folder, index).rename(folder / f"{(index * 5 + 3) % SLICES}.img")


@mutation(OK, exact=True)
def instance_numbers_reversed(folder):
    edit(folder, lambda d, i: setattr(d, "InstanceNumber", SLICES - i))


@mutation(OK, exact=True)
def nested_folders_without_extension(folder):
    for index in range(SLICES):
        target = folder / "A" / f"B{index % 3}" / f"IM{index}"
        target.parent.mkdir(parents=True, exist_ok=True)
        file_of(folder, index).rename(target)


@mutation(OK, exact=True)
def zipped(folder):
    with zipfile.ZipFile(folder / "series.bin", "w", zipfile.ZIP_DEFLATED) as archive:
        for index in range(SLICES):
            archive.write(file_of(folder, index), f"x/{index}")
            file_of(folder, index).unlink()


@mutation(OK, "may be a trap", exact=True)
def zip_bomb(folder):
    with zipfile.ZipFile(folder / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.dcm", bytes(2**25))


@mutation(OK, "archive inside an archive", exact=True)
def zip_in_a_zip(folder):
    with zipfile.ZipFile(folder / "inner", "w") as archive:
        archive.writestr("a", "text")
    with zipfile.ZipFile(folder / "outer.zip", "w") as archive:
        archive.write(folder / "inner", "inner.zip")
    (folder / "inner").unlink()


@mutation(OK, "damaged zip", exact=True)
def damaged_zip(folder):
    (folder / "broken.zip").write_bytes(b"PK\x03\x04" + bytes(99))


@mutation(OK, "not DICOM", exact=True)
def text_file_among_them(folder):
    (folder / "notes.dcm").write_text("Doe^Jane was here")


@mutation(OK, "an empty file", exact=True)
def zero_byte_file(folder):
    (folder / "empty.dcm").touch()


@mutation(OK, "link to a folder", exact=True)
def loop_of_links(folder):
    (folder / "again").symlink_to(folder, target_is_directory=True)


@mutation(OK, "unreadable", exact=True)
def broken_link(folder):
    (folder / "gone.dcm").symlink_to(folder / "nowhere")


@mutation(OK, "nested too deeply", exact=True)
def file_nested_too_deeply(folder):
    opening = b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff" + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    bare = pydicom.dcmread(file_of(folder, 0), specific_tags=["SOPClassUID"])
    save(bare, folder / "deep.dcm")
    with (folder / "deep.dcm").open("ab") as file:
        file.write(opening * 5000)


@mutation(OK, "DICOMDIR", exact=True)
def dicomdir(folder):
    index = make_slice(0)
    index.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    del index.SOPClassUID, index.PixelData
    index.DirectoryRecordSequence = Sequence([Dataset()])
    save(index, folder / "DICOMDIR")


@mutation(OK, "a localizer", exact=True)
def localizer(folder):
    scout = make_slice(SLICES)
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    save(scout, folder / "scout")


@mutation(OK, "secondary capture", exact=True)
def secondary_capture(folder):
    capture = make_slice(SLICES)
    capture.SOPClassUID = SecondaryCaptureImageStorage
    save(capture, folder / "capture")


@mutation(OK, "colour", exact=True)
def colour_picture_in_the_series(folder):
    picture = make_slice(SLICES)
    picture.SamplesPerPixel, picture.PhotometricInterpretation = 3, "RGB"
    save(picture, folder / "picture")


@mutation(OK, "not DICOM", exact=True)
def bare_bytes_that_begin_like_dicom(folder):
    (folder / "bare").write_bytes(b"\x08\x00" + bytes(500))


# Encodings.


@mutation(OK, exact=True)
def no_preamble(folder):
    for index in range(SLICES):
        path = file_of(folder, index)
        dataset = pydicom.dcmread(path)
        bare = Dataset()
        bare.update({element.tag: element for element in dataset})
        bare.save_as(path, implicit_vr=True, little_endian=True)


def _convert(folder, syntax):
    def change(dataset, _index):
        dataset.file_meta.TransferSyntaxUID = syntax

    edit(folder, change)


@mutation(OK, exact=True)
def deflated(folder):
    _convert(folder, DeflatedExplicitVRLittleEndian)


@mutation(OK, exact=True)
def implicit(folder):
    _convert(folder, ImplicitVRLittleEndian)


@mutation(OK, exact=True)
def big_endian(folder):
    for index in range(SLICES):
        dataset = make_slice(index)
        dataset.PixelData = (TRUTH_DHW[index] + 1024).astype(">u2").tobytes()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
        dataset.set_original_encoding(False, False)
        save(dataset, file_of(folder, index))


@mutation(OK, exact=True)
def run_length_encoded(folder):
    edit(
        folder,
        lambda d, i: d.compress(
            RLELossless, encoding_plugin="pydicom", generate_instance_uid=False
        ),
    )


@mutation(OK, exact=True)
def signed_values(folder):
    def change(dataset, index):
        set_values(dataset, TRUTH_DHW[index], signed=True)
        dataset.RescaleIntercept = 0

    edit(folder, change)


@mutation(OK, exact=True)
def signed_12_bits(folder):
    def change(dataset, index):
        set_values(dataset, TRUTH_DHW[index], signed=True, bits=12)
        dataset.RescaleIntercept = 0

    edit(folder, change)


@mutation(REPAIRED, "beyond BitsStored", exact=True)
def something_beyond_bits_stored(folder):
    edit(folder, lambda d, i: set_values(d, TRUTH_DHW[i] + 1024 + 2**14, bits=12), only=[2])


@mutation(OK, exact=True)
def intercept_and_slope_of_each_slice(folder):
    def change(dataset, index):
        set_values(dataset, 2 * (TRUTH_DHW[index] + 500 + index))
        dataset.RescaleSlope, dataset.RescaleIntercept = 0.5, -500 - index

    edit(folder, change)


@mutation(REPAIRED, "MONOCHROME1", exact=True)
def monochrome1(folder):
    edit(folder, lambda d, i: setattr(d, "PhotometricInterpretation", "MONOCHROME1"))


@mutation(REPAIRED, "Padding")
def padding(folder):
    def change(dataset, index):
        values = TRUTH_DHW[index].copy()
        values[:, 0] = -2000
        set_values(dataset, values, signed=True)
        dataset.RescaleIntercept = 0
        dataset.PixelPaddingValue = -2000
        dataset["PixelPaddingValue"].VR = "SS"

    edit(folder, change)


@mutation(REPAIRED, "Padding")
def padding_written_beyond_bits_stored(folder):
    def change(dataset, index):
        values = TRUTH_DHW[index] + 1024
        values[:, 0] = 63536
        set_values(dataset, values, bits=12)
        dataset.PixelPaddingValue = 63536
        dataset["PixelPaddingValue"].VR = "US"

    edit(folder, change)


@mutation(REPAIRED, "Padding")
def padding_range(folder):
    def change(dataset, index):
        values = TRUTH_DHW[index] + 1024
        values[:, 0] = 3000 + np.arange(ROWS)
        set_values(dataset, values)
        dataset.PixelPaddingValue, dataset.PixelPaddingRangeLimit = 3000, 3100
        dataset["PixelPaddingValue"].VR = dataset["PixelPaddingRangeLimit"].VR = "US"

    edit(folder, change)


@mutation(REFUSED, "end early")
def truncated_file(folder):
    path = file_of(folder, 3)
    path.write_bytes(path.read_bytes()[:-200])


@mutation(REFUSED, "no pixel data")
def no_pixel_data(folder):
    edit(folder, lambda d, i: d.__delitem__("PixelData"), only=[3])


@mutation(REFUSED, "file ")
def compressed_garbage(folder):
    def change(dataset, _index):
        dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
        dataset.PixelData = encapsulate([b"garbage!"])
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True

    edit(folder, change, only=[5])


@mutation(REFUSED, "transfer syntax")
def unknown_transfer_syntax(folder):
    for index in range(SLICES):
        dataset = pydicom.dcmread(file_of(folder, index))
        dataset.file_meta.TransferSyntaxUID = f"{ROOT}77"
        dataset.save_as(file_of(folder, index), implicit_vr=False, little_endian=True)


@mutation(REFUSED, "voxels")
def absurd_rows(folder):
    edit(folder, lambda d, i: d.update({"Rows": 65535, "Columns": 65535}), only=[1])


@mutation(REFUSED, "a depth that CT does not allow")
def depth_that_is_impossible(folder):
    edit(folder, lambda d, i: setattr(d, "BitsStored", 40), only=[1])
