"""Corrections of small images, in the terms of kits that do not exist."""

import io

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter

from moekit.corrections.labels import Label
from moekit.corrections.store import Correction
from moekit.corrections.terms import Terms

SIZE = (30, 40)
LOADERS = {"class": "moekit/folder", "objects": "moekit-detection/coco", "mask": "moekit/masks"}


def png(seed=0, size=SIZE):
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
    stored = io.BytesIO()
    Image.fromarray(pixels).save(stored, "PNG")
    return stored.getvalue()


@pytest.fixture(scope="session")
def terms():
    """Makes the terms of a form."""

    def make(form, classes=("good", "odd"), **fields):
        return Terms(
            kit="tests/kit",
            task="-",
            classes=tuple(classes),
            form=form,
            loader=LOADERS[form],
            **fields,
        )

    return make


@pytest.fixture(scope="session")
def label():
    """A label from JSON."""
    return TypeAdapter(Label).validate_python


@pytest.fixture(scope="session")
def correction(label):
    """A correction of a random image."""

    def make(said, seed=0, size=SIZE, **fields):
        return Correction(content=png(seed, size), size=size, label=label(said), **fields)

    return make
