"""What the server answers: the same as the runtime, with a receipt, and never another's answer."""

import base64
import collections
import contextlib
import hashlib
import io
import json
import re
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from moekit.sealed import write_sealed
from moekit.serve.facts import named_runs
from moekit.serve.opening import open_service
from moekit.serve.options import ServeOptions
from moekit.serve.schema import AnswerReply, ErrorReply, KitsReply
from moekit.serve.server import serve_runs
from moekit.serve.service import Service
from moekit.testing import refused


def scores(reply, kit):
    assert reply.status_code == 200, reply.text
    AnswerReply.model_validate(reply.json())
    return [entry["answers"][kit]["values"]["score"] for entry in reply.json()["images"]]


def opened(images):
    return [Image.open(io.BytesIO(image)).convert("RGB") for image in images]


def by_itself(runtime, images, kit):
    found = runtime.answer(opened(images), kits=[kit], batch_size=1)
    return [one.score for one in found[kit]]


@pytest.fixture
def images(picture):
    return [picture(seed, odd=seed % 2) for seed in range(5)]


@pytest.fixture
def one_by_one(service, runtime):
    """The service with one image a pass."""
    return Service(service._runtime, service.facts, batch_size=1)


def test_with_one_image_a_pass_answers_are_to_the_bit_those_of_the_runtime(
    serve, one_by_one, runtime, images
):
    served = serve(one_by_one, batch_size=1)
    names = list(one_by_one.facts)
    reply = served.ask(*images, kits=names)
    for name in names:
        assert scores(reply, name) == by_itself(runtime, images, name)
        assert scores(served.ask(images[3], kits=[name]), name) == scores(reply, name)[3:4]


def test_with_several_a_pass_they_are_to_the_bit_those_of_the_runtime_with_the_same_pass(
    serve, service, runtime, images
):
    reply = serve(service).ask(*images)
    together = runtime.answer(opened(images), kits=["all", "other", "few"], batch_size=8)
    for name in service.facts:
        found = scores(reply, name)
        assert found == [one.score for one in together[name]]
        # The law of the independence of rows holds to rounding.
        assert found == pytest.approx(by_itself(runtime, images, name), rel=1e-4)
        assert len(set(found)) == len(images)


def test_json_with_base64_is_answered_as_a_form_is(serve, service, images):
    served = serve(service)
    body = {"images": [base64.b64encode(image).decode() for image in images], "kits": ["all"]}
    reply = served.client.post("/v1/answer", json={**body, "deadline_s": 20})
    assert reply.json() == served.ask(*images, kits=["all"]).json()
    assert [list(entry["answers"]) for entry in reply.json()["images"]] == [["all"]] * 5


def test_two_kits_in_one_request_share_the_blocks_before_their_own(serve, service, small, images):
    served, counts = serve(service), collections.Counter()
    hooks = [
        block.attn.register_forward_hook(lambda *_, index=index: counts.update([index]))
        for index, block in enumerate(small.blocks)
    ]
    try:
        served.ask(images[0], kits=["all"])
        alone = counts.copy()
        served.ask(images[0], kits=["all", "other"])
    finally:
        for hook in hooks:
            hook.remove()
    both = counts - alone
    assert set(alone.values()) == {1}
    shared = [index for index, count in both.items() if count == 1]
    assert len(shared) > len(small.blocks) / 2
    assert sum(both.values()) < 1.5 * sum(alone.values())


def test_each_answer_carries_the_hashes_that_it_rests_on(serve, service, images, runs):
    served = serve(service)
    reply = served.client.get("/v1/kits").json()
    KitsReply.model_validate(reply)
    known = {one["name"]: one for one in reply["kits"]}
    assert list(known) == list(runs)
    for place, entry in enumerate(served.ask(*images).json()["images"]):
        own = hashlib.sha256(images[place]).hexdigest()
        assert (entry["image"], entry["image_sha256"]) == (place, own)
        for name, one in entry["answers"].items():
            record = json.loads((runs[name] / "run.json").read_text())
            text = json.dumps(known[name]["settings"], sort_keys=True, separators=(",", ":"))
            made = one["receipt"].pop("computed")
            assert (made["images"], made["batch_size"]) == (len(images), 8)
            assert made["threads"] == torch.get_num_threads()
            assert made["versions"]["torch"] == torch.__version__
            assert "moekit-industrial" in made["versions"]
            assert one["receipt"] == {
                "image_sha256": own,
                "backbone_sha256": record["request"]["backbone_sha256"],
                "kit_sha256": record["weights"]["kit_sha256"],
                "export_sha256": None,
                "asked_level": None,
                "settings_sha256": hashlib.sha256(text.encode()).hexdigest(),
            }
            assert set(one["values"]) <= set(known[name]["columns"])
    assert known["few"]["settings"]["top_k"] == 4
    assert known["few"]["settings"]["token_share"] == 1
    assert known["all"]["settings_sha256"] != known["few"]["settings_sha256"]


def test_kits_that_leave_memory_answer_as_those_that_stay(serve, service, small, runs, images):
    options = ServeOptions()
    with contextlib.closing(
        open_service(runs, options=options, backbone=small, most_kits=2)
    ) as made:
        assert serve(made).ask(*images).json() == serve(service).ask(*images).json()


def test_an_unknown_kit_is_not_found_and_the_known_ones_are_named(serve, service, images):
    reply = serve(service).ask(images[0], kits=["all", "nonesuch"])
    assert reply.status_code == 404
    ErrorReply.model_validate(reply.json())
    error = reply.json()["error"]
    assert error["code"] == "usage/unknown-name"
    assert "'nonesuch'" in error["what"]
    assert "all, other, few" in error["fix"]


def test_a_kit_that_fails_takes_no_other_with_it(serve, service, images, monkeypatch):
    predictor = service._runtime._trained.get("other").predictor

    def fail(*_, **__):
        raise ZeroDivisionError("of the tests")

    monkeypatch.setattr(predictor.kit.head, "forward", fail)
    served = serve(service)
    reply = served.ask(*images)
    assert scores(reply, "all")
    for entry in reply.json()["images"]:
        assert set(entry["answers"]) == {"all", "few"}
        assert set(entry["failed"]) == {"other"}
        assert entry["failed"]["other"]["code"].startswith("plugin/")
        assert entry["error"] is None
    reply = served.ask(images[0], kits=["other"])
    assert reply.status_code == 500
    assert reply.json()["error"]["code"].startswith("plugin/")
    assert served.figure('moekit_images_total{kit="other",outcome="failed"}') == 6


def test_a_picture_with_which_a_kit_fails_spoils_no_other(
    serve, service, images, runtime, monkeypatch
):
    """Requests of others may lie in the same batch."""
    head = service._runtime._trained.get("all").predictor.kit.head
    real, calls = head.forward, []

    def forward(tokens, *given, **named):
        calls.append(len(tokens[0]))
        if len(tokens[0]) > 1 or len(calls) == 3:  # the batch, then the second by itself
            raise ZeroDivisionError("of the tests")
        return real(tokens, *given, **named)

    monkeypatch.setattr(head, "forward", forward)
    entries = serve(service).ask(*images, kits=["all"]).json()["images"]
    assert [list(entry["failed"]) for entry in entries] == [[], ["all"], [], [], []]
    assert len(calls) == 6


def test_numbers_of_more_than_eight_bits_are_read_as_the_run_reads_them(
    service, images, monkeypatch
):
    facts = {name: service.facts[name] for name in ("all", "other")}
    facts["other"] = type(facts["other"])(**{**vars(facts["other"]), "bits": 12})
    made = Service(service._runtime, facts, batch_size=8)
    file = io.BytesIO()
    Image.fromarray(np.full((48, 48), 5000, dtype=np.uint16)).save(file, "PNG")
    (found,) = made(["all", "other"], [file.getvalue()])
    assert set(found.rows) == {"all"}
    assert found.failed["other"].code == "image/over-bits"
    assert found.unreadable is None


def test_the_interface_is_described_with_types(serve, service):
    described = serve(service).client.get("/openapi.json").json()
    answer = described["paths"]["/v1/answer"]["post"]
    assert set(answer["requestBody"]["content"]) == {"application/json", "multipart/form-data"}
    assert answer["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
    assert {"401", "404", "413", "422", "429", "504"} <= set(answer["responses"])
    assert answer["security"]
    figures = described["paths"]["/metrics"]["get"]["responses"]
    assert set(figures["200"]["content"]) == {"text/plain"}
    assert "401" in figures
    assert "503" in described["paths"]["/readyz"]["get"]["responses"]
    assert {"Receipt", "KitAnswer", "ImageAnswers", "Fault"} <= set(
        described["components"]["schemas"]
    )


def test_runs_are_called_as_their_folders_or_as_asked(tmp_path):
    (tmp_path / "a=b").mkdir()
    given = [str(tmp_path / "one"), f"two={tmp_path / 'one'}", str(tmp_path / "a=b")]
    assert named_runs(given) == {
        "one": tmp_path / "one",
        "two": tmp_path / "one",
        "a=b": tmp_path / "a=b",
    }
    with refused("usage/same-name"):
        named_runs(["x/one", "y/one"])


def test_a_run_of_stacks_is_refused_at_the_start(small, runs, tmp_path):
    text = (runs["all"] / "run.json").read_text()
    (tmp_path / "stacks").mkdir()
    stacks = re.sub(r'"frames": 1\b', '"frames": 3', text)
    assert stacks != text
    write_sealed(tmp_path / "stacks" / "run.json", json.loads(stacks))
    with refused("usage/not-for-task"):
        open_service({"stacks": tmp_path / "stacks"}, options=ServeOptions(), backbone=small)


def test_a_server_that_is_told_to_end_while_it_loads_does_so(folder, runs):
    stop, ready = threading.Event(), []
    stop.set()
    serve_runs(
        runs,
        options=ServeOptions(port=0),
        on_ready=lambda *told: ready.append(told),
        stop=stop,
        device="cpu",
        weights=str(folder / "weights.safetensors"),
        form="none",
    )
    assert not ready
