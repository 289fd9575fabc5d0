"""Inputs of heads that look at the picture are decoded once, within a bound of memory."""

import dataclasses

import pytest
import torch

from moekit.data.geometry import Box
from moekit.data.stream import Preprocess
from moekit.training import inputs
from moekit.training.inputs import Inputs

READ = Preprocess(size=32, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


@pytest.fixture
def decoded(monkeypatch):
    """Names of the files that were decoded, in their order."""
    names = []
    read = Preprocess.read

    def noted(self, path):
        names.append(path.name)
        return read(self, path)

    monkeypatch.setattr(Preprocess, "read", noted)
    return names


def test_an_input_is_decoded_once_and_is_that_of_its_file(cells, decoded):
    samples = cells.samples[:3]
    known = [READ(sample.path) for sample in samples]
    decoded.clear()
    found = Inputs(samples, READ)
    for row in (0, 1, 0, 2, 1):
        assert torch.equal(found[row], known[row])
    assert decoded == [sample.path.name for sample in samples]


def test_inputs_that_were_not_asked_for_longest_go_first(cells, decoded, monkeypatch):
    samples = cells.samples[:3]
    monkeypatch.setattr(inputs, "KEPT_BYTES", 2 * 3 * 32 * 32 * 4)
    found = Inputs(samples, READ)
    for row in (0, 1, 0, 2):
        _ = found[row]
    decoded.clear()
    for row in (0, 2, 1):
        _ = found[row]
    assert decoded == [samples[1].path.name]
    monkeypatch.setattr(inputs, "KEPT_BYTES", 0)
    assert torch.equal(found[0], READ(samples[0].path))


def test_windows_of_one_picture_in_a_row_are_cut_from_one_decoding(cells, decoded):
    sample = cells.samples[0]
    windows = [Box(0, 0, 100, 100), Box(50, 60, 100, 100), Box(200, 200, 100, 100)]
    found = Inputs([dataclasses.replace(sample, window=one) for one in windows], READ)
    made = [found[row] for row in range(3)]
    assert decoded == [sample.path.name]
    whole = READ.read(sample.path)[0][0]
    for one, window in zip(made, windows, strict=True):
        left, top = window.left, window.top
        part = whole.crop((left, top, left + window.width, top + window.height))
        assert torch.equal(one, READ.tensor(part))
