"""The run folder refuses what it cannot vouch for."""

from torch import nn

from moekit.runs.run import Run
from moekit.sealed import SEAL
from moekit.testing import refused


def test_an_empty_folder_holds_no_run(tmp_path):
    with refused("data/no-run"):
        Run(tmp_path).read()


def test_an_unfinished_run_cannot_be_evaluated(tmp_path):
    run = Run(tmp_path)
    run.begin({"kit": "small"}, resume=False)
    with refused("data/unfinished-run"):
        run.read_finished()


def test_a_request_that_changed_is_named(tmp_path):
    run = Run(tmp_path)
    run.begin({"kit": "small", "seed": 0}, resume=False)
    with refused("usage/other-run", match="seed"):
        run.begin({"kit": "small", "seed": 1}, resume=True)


def test_a_record_of_another_schema_is_refused(tmp_path):
    (tmp_path / "run.json").write_text('{"schema": 99}')
    with refused("data/other-version"):
        Run(tmp_path).read()


def test_a_damaged_record_is_named(tmp_path):
    (tmp_path / "run.json").write_text('{"schema": ')
    with refused("data/bad-json", match=r"run\.json"):
        Run(tmp_path).read()


def test_weights_come_back_and_changed_bytes_do_not(tmp_path):
    run, module, other = Run(tmp_path), nn.Linear(3, 2), nn.Linear(3, 2)
    digest = run.save_weights("kit", module)
    run.load_weights("kit", other, expected=digest)
    assert other.weight.equal(module.weight)
    path = run.weights("kit")
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with refused("weights/damaged"):
        run.load_weights("kit", other, expected=digest)


def test_missing_weights_are_named(tmp_path):
    with refused("weights/damaged", match=r"kit\.safetensors"):
        Run(tmp_path).load_weights("kit", nn.Linear(1, 1), expected="0" * 64)


def test_a_record_is_read_once_and_what_was_written_is_known(tmp_path):
    run = Run(tmp_path)
    run.begin({"kit": "small", "sizes": (1, 2)}, resume=False)
    run.finish({"weights": {}})
    run.record.unlink()
    known = run.read_finished()
    assert len(known.pop(SEAL)) == 64
    assert known == {
        "schema": 1,
        "request": {"kit": "small", "sizes": [1, 2]},
        "done": True,
        "weights": {},
    }


def test_what_another_process_wrote_is_seen_if_it_is_asked_for(tmp_path):
    mine, other = Run(tmp_path), Run(tmp_path)
    mine.begin({"kit": "small"}, resume=False)
    other.finish({"weights": {}})
    assert not mine.read()["done"]
    assert mine.read(again=True)["done"]
    assert mine.read_finished()["weights"] == {}
