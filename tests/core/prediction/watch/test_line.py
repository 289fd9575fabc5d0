"""A line from end to end, with a scorer that measures brightness."""

import json
import os
import threading
import time

import numpy as np
import pytest
from PIL import Image

from moekit.testing import refused


def rows(tmp_path):
    lines = (tmp_path / "out" / "results.jsonl").read_text().splitlines()[1:]
    return [json.loads(line) for line in lines]


def wait_for(what):
    limit = time.monotonic() + 60
    while not what():
        assert time.monotonic() < limit
        time.sleep(0.005)


def started(call):
    """Runs a call in a thread; returns a function that waits for its result."""
    outcome = []
    thread = threading.Thread(target=lambda: outcome.append(call()))
    thread.start()

    def result():
        thread.join(90)
        return outcome[0]

    return result


def test_each_image_gets_a_verdict_and_only_those_that_are_not_passed_an_overlay(
    run_watch, paint, tmp_path
):
    for name, level in (("a/good.png", 0.1), ("b/odd.png", 0.9), ("unsure.png", 0.4)):
        paint(name, level=level)
    summary = run_watch(review=0.3)
    found = {row["file"]: row for row in rows(tmp_path)}
    assert {name: row["verdict"] for name, row in found.items()} == {
        "a/good.png": "pass",
        "b/odd.png": "odd",
        "unsure.png": "review",
    }
    assert found["b/odd.png"]["score"] == pytest.approx(0.9, abs=0.01)
    overlays = {path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*.jpg")}
    assert {path.as_posix() for path in overlays} == {
        "overlays/b/odd.png.jpg",
        "overlays/unsure.png.jpg",
    }
    assert summary["verdicts"] == {"odd": 1, "pass": 1, "review": 1}
    assert summary == json.loads((tmp_path / "out" / "summary.json").read_text())


def test_the_summary_tells_durations_rates_and_the_machine(run_watch, brightness, paint):
    paint(*(f"{number}.png" for number in range(10)))
    summary = run_watch(brightness(seconds=0.02), queue=2)
    assert summary["state"] == "once"
    assert summary["scoring_s"]["n"] == summary["latency_s"]["n"] == summary["session"]["n"] == 10
    assert summary["scoring_s"]["p50"] == summary["scoring_s"]["max"] == 0.02
    latency = summary["latency_s"]
    assert 0.02 <= latency["p50"] <= latency["p95"] <= latency["p99"] <= latency["max"]
    assert latency["max"] >= 10 * 0.02  # the last one waited for all others
    assert summary["queue"]["greatest"] == 2
    assert summary["queue"]["full"] > 0
    assert 0 < summary["session"]["scoring_share"] <= 1
    assert 1 < summary["session"]["images_per_s"] <= 50
    assert summary["machine"]["threads"] == 1


def test_a_batch_is_what_waits_and_at_most_its_size(run_watch, brightness, paint):
    paint(*(f"{number}.png" for number in range(9)))
    scorer = brightness(seconds=0.05)
    run_watch(scorer, batch_size=4)
    _warm_up, *batches = scorer.batches
    assert sum(batches) == 9
    assert max(batches) == 4
    single = brightness()
    paint("one more.png")
    run_watch(single)
    assert single.batches == [1, 1]


def test_images_that_come_while_it_runs_are_scored_and_it_ends_when_none_come(
    run_watch, paint, tmp_path
):
    result = started(lambda: run_watch(once=False, idle=0.8, summary_every=0.1))
    wait_for((tmp_path / "out" / "summary.json").exists)
    for number in range(5):
        paint(f"day {number}/{number}.png")
        time.sleep(0.05)
    wait_for(lambda: json.loads((tmp_path / "out" / "summary.json").read_text())["n"])
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["state"] in (
        "running",
        "idle",
    )
    summary = result()
    assert (summary["n"], summary["state"]) == (5, "idle")
    assert len({row["file"] for row in rows(tmp_path)}) == len(rows(tmp_path)) == 5


def test_a_half_written_file_is_waited_for(run_watch, paint, tmp_path):
    (whole,) = paint("whole.png", level=0.9, folder="elsewhere")
    half = tmp_path / "in" / "slow.png"
    half.write_bytes(whole.read_bytes()[:40])
    result = started(run_watch)
    time.sleep(0.25)  # reading it has failed by now
    half.write_bytes(whole.read_bytes())
    assert result()["verdicts"] == {"odd": 1}


def test_a_file_that_stays_damaged_gets_a_row_with_the_reason(run_watch, paint, tmp_path):
    _good, bad = paint("good.png", "bad.png")
    bad.write_bytes(bad.read_bytes()[:40])
    summary = run_watch(tries=2)
    assert summary["verdicts"] == {"pass": 1, "unreadable": 1}
    (row,) = (row for row in rows(tmp_path) if row["file"] == "bad.png")
    assert row["score"] is None
    assert "damaged" in row["error"]
    assert run_watch(tries=2)["session"]["n"] == 0


def test_the_next_start_goes_on_and_counts_all(run_watch, brightness, paint, tmp_path):
    paint("a.png", "b.png")
    run_watch()
    paint("c.png", level=0.9)
    told = []
    scorer = brightness()
    summary = run_watch(scorer, tell=told.append)
    assert scorer.batches == [1, 1]  # the warm-up and the new one
    assert (summary["n"], summary["session"]["n"]) == (3, 1)
    assert summary["verdicts"] == {"odd": 1, "pass": 2}
    assert len(summary["starts"]) == 2
    assert len(told) == 1
    assert told[0].startswith("2 images have a row already")


def test_another_image_of_a_name_is_scored_again_at_the_next_start(run_watch, paint, tmp_path):
    paint("a.png", "b.png", level=0.9)
    run_watch()
    times = (tmp_path / "in/a.png").stat().st_atime_ns, (tmp_path / "in/a.png").stat().st_mtime_ns
    paint("a.png", level=0.1)
    os.utime(tmp_path / "in/a.png", ns=times)
    told = []
    summary = run_watch(tell=told.append)
    assert (summary["n"], summary["again"], summary["session"]["n"]) == (3, 1, 1)
    assert [(row["file"], row["verdict"]) for row in rows(tmp_path)][2:] == [("a.png", "pass")]
    assert len({row["content"] for row in rows(tmp_path)}) == 2
    assert not (tmp_path / "out/overlays/a.png.jpg").exists()
    assert (tmp_path / "out/overlays/b.png.jpg").exists()
    assert any("a.png" in text for text in told)
    assert run_watch()["session"]["n"] == 0


def test_a_picture_that_comes_again_under_another_name_has_its_row_and_is_counted(
    run_watch, paint, tmp_path
):
    (first,) = paint("a.png", level=0.9)
    for name in ("b.png", "c.png"):
        (first.parent / name).write_bytes(first.read_bytes())
    summary = run_watch()
    assert sorted(row["file"] for row in rows(tmp_path)) == ["a.png", "b.png", "c.png"]
    assert len({row["score"] for row in rows(tmp_path)}) == 1
    assert (summary["n"], summary["again"], summary["copies"]) == (3, 0, 2)
    assert run_watch()["copies"] == 2


def test_names_that_a_camera_uses_again_are_scored_again_while_it_runs(run_watch, paint, tmp_path):
    paint("0.png")
    result = started(lambda: run_watch(once=False, idle=1.0))
    wait_for(lambda: (tmp_path / "out/results.jsonl").exists() and len(rows(tmp_path)) == 1)
    paint("0.png", level=0.9)
    wait_for(lambda: len(rows(tmp_path)) == 2)
    os.utime(tmp_path / "in/0.png")  # touched, but the same
    summary = result()
    assert [row["verdict"] for row in rows(tmp_path)] == ["pass", "odd"]
    assert (summary["n"], summary["again"], summary["state"]) == (2, 1, "idle")


def test_two_images_of_one_name_in_a_batch_get_an_answer_each(
    run_watch, brightness, paint, tmp_path
):
    paint("0.png")
    # The first pass of the line is slow, so that both images of the name wait for the second.
    result = started(lambda: run_watch(brightness(seconds=0.7), once=False, idle=1.5, batch_size=4))
    wait_for(lambda: (tmp_path / "out/summary.json").exists())
    for name, level in (("a.png", 0.1), ("b.png", 0.1), ("b.png", 0.9)):
        time.sleep(0.3)
        paint(name, level=level)
    result()
    assert [row["verdict"] for row in rows(tmp_path) if row["file"] == "b.png"] in (
        ["pass", "odd"],
        ["odd"],
    )


def test_rows_that_do_not_say_of_what_content_they_are_are_made_again(run_watch, paint, tmp_path):
    paint("a.png")
    run_watch()
    journal = tmp_path / "out/results.jsonl"
    head, row = journal.read_text().splitlines()
    old = {name: value for name, value in json.loads(row).items() if name != "content"}
    journal.write_text(f"{head}\n{json.dumps(old)}\n")
    assert run_watch()["again"] == 1


def test_a_stop_finishes_the_image_in_hand(run_watch, brightness, paint, tmp_path):
    paint(*(f"{number:02}.png" for number in range(30)))
    stop = threading.Event()
    result = started(lambda: run_watch(brightness(seconds=0.05), stop=stop))
    wait_for(lambda: (tmp_path / "out" / "results.jsonl").exists() and len(rows(tmp_path)) >= 2)
    stop.set()
    summary = result()
    assert summary["state"] == "stopped"
    assert 2 <= summary["n"] == len(rows(tmp_path)) < 30
    run_watch()
    assert sorted(row["file"] for row in rows(tmp_path)) == [f"{n:02}.png" for n in range(30)]


def test_lag_is_told_and_that_it_is_over(run_watch, brightness, paint):
    paint(*(f"{number:02}.png" for number in range(20)))
    told = []
    run_watch(
        brightness(seconds=0.03),
        tell=told.append,
        queue=2,
        once=False,
        idle=0.5,
        summary_every=0.05,
    )
    assert "images wait above a queue of 2" in told[0]
    assert told[-1] == "scoring has caught up"


def test_the_oldest_overlays_go_and_their_empty_folders(run_watch, paint, tmp_path):
    for number in range(6):
        (path,) = paint(f"{number}/x.png", level=0.9)
        os.utime(path, (number, number))
    run_watch(keep=2)
    kept = sorted(path.name for path in (tmp_path / "out" / "overlays").iterdir())
    assert kept == ["4", "5"]
    paint("6/x.png", level=0.9)
    run_watch(keep=2)
    kept = sorted(path.name for path in (tmp_path / "out" / "overlays").iterdir())
    assert kept == ["5", "6"]


@pytest.mark.parametrize(("which", "count"), [("all", 2), ("none", 0)])
def test_overlays_of_all_or_none_can_be_asked_for(run_watch, paint, tmp_path, which, count):
    paint("good.png")
    paint("odd.png", level=0.9)
    run_watch(overlays=which)
    assert len(list((tmp_path / "out").rglob("*.jpg"))) == count


def test_results_that_were_made_otherwise_are_refused(run_watch, paint):
    paint("a.png")
    run_watch()
    with refused("usage/other-run"):
        run_watch(provenance={"kit": "another"})


def test_folders_inside_each_other_are_refused(run_watch, paint, tmp_path):
    (tmp_path / "in" / "gold").mkdir()
    for wrong in (
        {"out": tmp_path / "in" / "out"},
        {"golden": tmp_path / "in" / "gold"},
        {"folder": tmp_path / "out" / "overlays" / "x"},
    ):
        with refused("usage/nested-folders"):
            run_watch(**wrong)
    assert not (tmp_path / "in" / "out").exists()


def test_an_output_that_cannot_be_written_is_told(run_watch, paint, tmp_path):
    paint("a.png")
    (tmp_path / "out").write_text("a file")
    with refused("storage/cannot-write"):
        run_watch()


def test_what_is_guessed_of_files_is_told_once_and_kinds_that_are_not_read_get_a_row(
    run_watch, paint, tmp_path
):
    for number in range(3):
        grey = np.full((16, 16), 100 + number, np.uint16)
        Image.fromarray(grey).save(tmp_path / "in" / f"{number}.png")
    (tmp_path / "in/photo.heic").write_bytes(b"x")
    told = []
    summary = run_watch(tell=told.append, batch_size=1, tries=2)
    assert summary["verdicts"]["unreadable"] == 1
    assert len([line for line in told if "of full scale" in line]) == 1
    assert any("3 pictures of more than 8 bits" in note for note in summary["notes"])
    read = [row for row in rows(tmp_path) if row["verdict"] != "unreadable"]
    assert all("range" in row["remarks"] for row in read)
