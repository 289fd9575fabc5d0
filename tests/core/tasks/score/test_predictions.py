"""Predictions keep what is known of their samples."""

from pathlib import Path

import numpy as np

from moekit import Sample, Skipped
from moekit.tasks.score.predictions import Predictions

SAMPLES = [
    Sample(id="a", path=Path("a.png"), label=0, facts={"maker": "North", "size": "3"}),
    Sample(id="b", path=Path("b.png"), label=1, facts={"maker": "Süd, Ltd"}),
    Sample(id="c", path=Path("c.png"), label=1),
]


def test_facts_of_samples_survive_the_file(tmp_path):
    written = Predictions.of(SAMPLES, np.array([0.1, 0.2, 0.3]))
    assert written.facts == {"maker": ("North", "Süd, Ltd", ""), "size": ("3", "", "")}
    written.write_csv(tmp_path / "predictions.csv")
    assert Predictions.read_csv(tmp_path / "predictions.csv").facts == written.facts


def test_rows_that_are_taken_keep_their_facts():
    part = Predictions.of(SAMPLES, np.array([0.1, 0.2, 0.3])).take(np.array([2, 0]))
    assert part.facts == {"maker": ("", "North"), "size": ("", "3")}


def test_samples_without_facts_make_the_file_that_they_always_made(tmp_path):
    Predictions.of(SAMPLES[2:], np.array([0.5])).write_csv(tmp_path / "p.csv")
    header, row = (tmp_path / "p.csv").read_text().splitlines()
    assert header == "id,label,score,baseline_score,group,subtype"
    assert row == "c,1,0.5,,,"
    assert Predictions.read_csv(tmp_path / "p.csv").facts == {}


def test_a_sample_that_is_skipped_keeps_what_it_counts_by():
    skipped = Skipped.of(SAMPLES[1], "truncated")
    assert (skipped.id, skipped.reason, skipped.label) == ("b", "truncated", 1)
    assert skipped.facts == SAMPLES[1].facts
    assert len({SAMPLES[0], SAMPLES[1]}) == 2  # samples and skipped inputs can be hashed still
    assert len({skipped, Skipped(id="b", reason="truncated")}) == 2
