"""A served answer comes out again from its receipt, and another one is refused by what differs."""

import copy
import json
import math

import pytest

from moekit.serve.receipts import read_served
from moekit.serve.service import Service
from moekit.serve.verify import differences, verify_answers
from moekit.testing import refused


@pytest.fixture(scope="module")
def images(picture):
    return [picture(seed, odd=seed % 2) for seed in range(3)]


@pytest.fixture
def reply(serve, service, images):
    """What a server replies that computes each image by itself."""
    by_one = Service(service._runtime, service.facts, batch_size=1)
    return serve(by_one, batch_size=1).ask(*images, kits=["all", "few"]).json()


@pytest.fixture
def check(small, runs, images, tmp_path):
    """Verifies what JSON holds: the answers to an image, by one run if no others are named."""

    def verify(value, place=1, *, by=("all",), **options):
        path = tmp_path / "reply.json"
        path.write_text(value if isinstance(value, str) else json.dumps(value))
        folders = [runs[name] for name in by]
        return verify_answers(read_served(path), images[place], folders, backbone=small, **options)

    return verify


def of(reply, place=1, kit="all"):
    return reply["images"][place]["answers"][kit]


def test_answers_of_passes_of_one_image_come_out_to_the_bit(reply, check):
    found, left = check(reply, by=("few", "all"))
    assert [(one.name, one.bitwise, one.largest_difference) for one in found] == [
        ("all", True, 0.0),
        ("few", True, 0.0),
    ]
    assert all((one.images, one.others) == (1, {}) for one in found)
    assert not left


def test_an_answer_at_a_moved_level_is_computed_at_that_level(serve, service, images, check):
    by_one = Service(service._runtime, service.facts, batch_size=1)
    asked = serve(by_one, batch_size=1)
    moved = asked.ask(*images, kits=["all"], levels="all=0.25").json()
    receipt = of(moved)["receipt"]
    assert receipt["asked_level"] == 0.25
    (found,), _ = check(moved)
    assert found.bitwise
    receipt["asked_level"] = 0.26
    with refused("error/other-settings"):
        check(moved)


@pytest.mark.parametrize(
    "form",
    [
        lambda reply: reply["images"][1],
        lambda reply: of(reply),
        lambda reply: {"n": 3, "answers": [{"file": "a", **one} for one in reply["images"]]},
    ],
    ids=["entry", "answer", "client"],
)
def test_each_form_in_which_an_answer_is_kept_is_read(reply, check, form):
    found, _ = check(form(reply))
    assert [one.bitwise for one in found] == [True]


def test_a_kit_whose_run_is_not_given_is_named(reply, check):
    found, left = check(reply)
    assert ([one.name for one in found], left) == (["all"], ["few"])
    assert check(reply, kit="all")[1] == []


def test_answers_of_shared_passes_come_out_within_the_tolerance(
    serve, service, images, check, monkeypatch
):
    reply = serve(service).ask(*images, kits=["all"]).json()
    (found,), _ = check(reply)
    assert found.images == 3
    assert found.largest_difference <= 1e-4
    of(reply)["values"]["score"] += 5e-5
    (found,), _ = check(reply)
    assert not found.bitwise
    assert 4e-5 < found.largest_difference < 6e-5
    with refused("error/other-answer", match="score"):
        check(reply, tolerance=1e-5)


def test_a_number_that_was_changed_in_its_last_bit_is_seen(reply, check):
    values = of(reply)["values"]
    values["score"] = math.nextafter(values["score"], 2)
    with refused("error/other-answer", match="score"):
        check(reply)


def test_a_verdict_that_was_changed_is_seen_whatever_the_tolerance(reply, check):
    of(reply)["verdict"] = "something else"
    with refused("error/other-answer", match="verdict"):
        check(reply, tolerance=1e6)


@pytest.mark.parametrize(
    ("field", "code"),
    [
        ("image_sha256", "error/other-image"),
        ("backbone_sha256", "error/other-backbone"),
        ("kit_sha256", "error/other-kit"),
        ("settings_sha256", "error/other-settings"),
    ],
)
def test_a_hash_that_differs_is_named(reply, check, field, code):
    of(reply)["receipt"][field] = "0" * 64
    with refused(code, match=field):
        check(reply, kit="all")


def test_another_image_and_another_run_are_refused(reply, check, picture, images):
    alone = {"images": reply["images"][:1]}
    with refused("error/other-image", match="image_sha256"):
        check(alone)
    with refused("error/other-kit", match="kit_sha256"):
        check(reply, by=("other",))
    with refused("usage/unknown-name", match="nonesuch"):
        check(reply, kit="nonesuch")


def test_by_other_versions_or_by_what_is_unknown_the_tolerance_holds_and_is_told(reply, check):
    changed = copy.deepcopy(reply)
    of(changed)["receipt"]["computed"]["versions"]["torch"] = "1.0"
    of(changed)["values"]["score"] += 1e-6
    (found,), _ = check(changed)
    assert not found.bitwise
    assert found.others["torch"][0] == "1.0"
    of(changed)["receipt"]["computed"] = None
    (found,), _ = check(changed)
    assert found.others == {"computed": ("unknown", "known")}


@pytest.mark.parametrize(
    "text", ["no JSON", "[]", "{}", '{"images": []}', '{"verdict": "-", "receipt": 3}', "[" * 9999]
)
def test_a_file_without_an_answer_is_refused(check, text):
    with refused("data/bad-receipt"):
        check(text)


def test_what_differs_is_found_wherever_it_lies():
    there = {"a": [1, {"b": 2.0}], "c": None, "d": True, "e": "x"}
    assert not list(differences(there, copy.deepcopy(there)))
    here = {"a": [1, {"b": 4.0}], "c": 0, "d": 1, "f": "x"}
    found = dict(differences(there, here))
    assert found == {"a.1.b": 0.5, "c": math.inf, "d": math.inf, "e": math.inf, "f": math.inf}
    assert dict(differences([1], [1, 2])) == {"": math.inf}


def test_an_answer_of_another_process_is_verified_by_the_command(
    start_process, folder, tmp_path, moekit
):
    served = start_process("all", options=("--batch-size", 1))
    image = folder / "parts" / "bars" / "01.png"
    reply, receipt = moekit("client", served.url, image, "--json"), tmp_path / "reply.json"
    receipt.write_text(reply.out)
    given = (receipt, image, "--run", folder / "all", "--form", "none", "--device", "cpu")
    given = ("verify", *given, "--weights", folder / "weights.safetensors")
    done = moekit(*given, "--json")
    assert done.code == 0, done.err
    (found,) = done.json["verified"]
    assert (found["name"], found["bitwise"], found["others"]) == ("all", True, {})
    assert "to the bit" in moekit(*given).out
    other = folder / "parts" / "bars" / "03.png"
    done = moekit(*("verify", receipt, other, *given[3:]))
    assert done.code == 1
    assert "error/other-image" in done.err
    assert "data/unreadable" in moekit(*("verify", receipt, tmp_path / "none", *given[3:])).err
