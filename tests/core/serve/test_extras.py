"""What may be asked for besides the answers: pictures, routing, and moved levels."""

import base64
import dataclasses
import io
import json

import numpy as np
import pytest
from PIL import Image

from moekit.data.pictures import reduced
from moekit.json_text import to_json
from moekit.serve.batching import Batcher
from moekit.serve.extras import NOTHING, Extras
from moekit.serve.service import Outcome
from moekit.testing import refused


def opened(image):
    return Image.open(io.BytesIO(image)).convert("RGB")


def one(reply):
    assert reply.status_code == 200, reply.text
    (entry,) = reply.json()["images"]
    return entry


def pixels(told):
    assert told["media_type"] == "image/jpeg"
    picture = Image.open(io.BytesIO(base64.b64decode(told["base64"])))
    assert (picture.width, picture.height) == (told["width"], told["height"])
    return np.asarray(picture, dtype=np.float64)


def test_nothing_is_shown_unless_it_is_asked_for(serve, service, picture):
    entry = one(serve(service).ask(picture(1), kits=["all"]))
    assert "picture" not in entry
    assert "shown" not in entry["answers"]["all"]


def test_an_overlay_is_the_one_that_the_task_draws(serve, service, runtime, picture):
    image = picture(1, odd=True)
    entry = one(serve(service).ask(image, kits=["all", "few"], overlays="true"))
    assert np.abs(pixels(entry["picture"]) - np.asarray(opened(image))).mean() < 4
    for kit in ("all", "few"):
        (answer,) = runtime.answer([opened(image)], kit=kit)
        answerer = runtime._trained.get(kit).answerer
        small = reduced(opened(image), 480)
        drawn = answerer.task.show.draw(small, answer, None, answerer.context)
        shown = entry["answers"][kit]["shown"]
        assert np.abs(pixels(shown["overlay"]) - np.asarray(drawn)).mean() < 4, "but for JPEG"
        assert shown["caption"] == f"score {answer.score:.3f}"
        assert shown["routing"] is None
        assert shown["failed"] is None


def test_the_routing_tells_where_each_expert_has_the_greatest_weight(
    serve, service, runtime, picture
):
    image = picture(2)
    asked = serve(service).ask(image, kits=["all", "few"], routing="true")
    answers = one(asked)["answers"]
    for kit, exact in (("all", True), ("few", False)):
        told = answers[kit]["shown"]["routing"]
        assert (told["rows"], told["columns"], told["box"]) == (3, 3, [0, 0, 1, 1])
        generic = [block for block in told["blocks"] if not block["of_kit"]]
        numbers = [block["block"] for block in generic]
        assert numbers == list(range(len(numbers))), "as far as the head reads"
        assert len(numbers) > 8
        assert {block["all"] for block in generic} == {exact}
        routed = runtime.routing(opened(image), kit=kit)
        for block, found in zip(told["blocks"], routed.trace.blocks, strict=True):
            assert sum(block["load"]) == pytest.approx(1, abs=0.01)
            assert len(block["experts"]) == len(block["load"]) == found.routing.experts
            if block["all"]:
                assert block["chosen"] == []
                continue
            weight_NE = found.routing.weight_TE()[-9:]
            assert block["chosen"] == weight_NE.argmax(1).tolist()
            assert block["weight"] == pytest.approx(weight_NE.amax(1).tolist(), abs=1e-3)
    assert answers["all"]["shown"]["overlay"] is None


def test_specialists_have_their_names(serve, service, runtime, picture):
    routing = one(serve(service).ask(picture(3), kits=["all"], routing="true"))["answers"]["all"]
    special = [block for block in routing["shown"]["routing"]["blocks"] if block["of_kit"]]
    slots = runtime._trained.get("all").predictor.kit.slots
    assert len(special) == len(slots)
    for block in special:
        assert block["experts"][-1] == "none"
        assert not block["experts"][0].isdecimal()


@pytest.fixture
def middle(runtime, picture):
    """An image and a level just above its score."""
    image = picture(5, odd=True)
    (answer,) = runtime.answer([opened(image)], kit="all")
    return image, answer.score, min(1.0, answer.score + 1e-6)


def test_a_moved_level_moves_the_verdict_and_nothing_else(serve, service, middle):
    image, score, above = middle
    served = serve(service)
    verdicts, receipts, scores = [], [], []
    for fields in ({}, {"levels": f"all={score}"}, {"levels": f"all={above}"}):
        answer = one(served.ask(image, kits=["all"], **fields))["answers"]["all"]
        verdicts.append(answer["verdict"])
        receipts.append(answer["receipt"]["settings_sha256"])
        scores.append(answer["values"]["score"])
    assert verdicts[1] != "pass"
    assert verdicts[2] == "pass"
    assert len(set(scores)) == 1
    assert len(set(receipts)) == 3, "an answer at another level differs from the run's own"
    (known,) = [k for k in served.client.get("/v1/kits").json()["kits"] if k["name"] == "all"]
    assert receipts[0] == known["settings_sha256"]
    assert known["level"] == pytest.approx(known["settings"]["threshold"])


def test_the_runs_own_level_gives_the_runs_own_answer(serve, service, picture):
    served = serve(service)
    (known,) = [k for k in served.client.get("/v1/kits").json()["kits"] if k["name"] == "all"]
    body = base64.b64encode(picture(6, odd=True)).decode()
    own = served.client.post("/v1/answer", json={"images": [body], "kits": ["all"]})
    asked = {"images": [body], "kits": ["all"], "levels": {"all": known["level"]}}
    moved = served.client.post("/v1/answer", json=asked)
    found = [one(reply)["answers"]["all"]["values"] for reply in (own, moved)]
    assert found[0] == found[1]


def test_levels_of_unknown_kits_or_of_kits_without_one_are_refused(serve, service, picture):
    served = serve(service)
    reply = served.ask(picture(1), levels="nonesuch=0.5")
    assert (reply.status_code, reply.json()["error"]["code"]) == (404, "usage/unknown-name")
    facts = {name: dataclasses.replace(f, level=None) for name, f in service.facts.items()}

    class Fixed:
        def __init__(self):
            self.facts = facts

        def __call__(self, *_given):
            raise AssertionError

    reply = serve(Fixed()).ask(picture(1), levels="all=0.5")
    assert (reply.status_code, reply.json()["error"]["code"]) == (422, "usage/no-level")


@pytest.mark.parametrize(
    "fields",
    [
        {"overlays": "yes"},
        {"routing": "1"},
        {"levels": "0.5"},
        {"levels": "all=2"},
        {"levels": "all=nan"},
        {"levels": "all="},
    ],
)
def test_odd_extras_are_refused(serve, slow, picture, fields):
    reply = serve(slow).ask(picture(1), **fields)
    assert (reply.status_code, reply.json()["error"]["code"]) == (422, "usage/bad-request")
    assert not slow.calls


def test_requests_with_other_extras_share_no_batch():
    """They would get what they did not ask for."""
    calls = []

    def answer(kits, images, extras=NOTHING):
        calls.append((len(images), extras))
        return [Outcome(content="", rows={}, failed={}) for _ in images]

    batcher = Batcher(answer, batch_size=8, gather_s=0.01, places=8)
    overlays = Extras(overlays=True)
    asked = [NOTHING, overlays, NOTHING, Extras(levels=(("a", 0.5),)), overlays]
    tickets = [batcher.submit(["a"], [b"x"], within_s=9, extras=one) for one in asked]
    batcher.start()
    assert all(ticket.future.result(9) for ticket in tickets)
    batcher.close()
    assert calls == [(2, NOTHING), (2, overlays), (1, asked[3])]


def test_an_answer_that_cannot_be_drawn_is_still_given(
    serve, service, runtime, picture, monkeypatch
):
    answerer = service._runtime._trained.get("all").answerer

    def broken(*_given):
        raise ValueError("no <b>pen</b>")

    show = dataclasses.replace(answerer.task.show, draw=broken)
    task = dataclasses.replace(answerer.task, show=show)
    trained = dataclasses.replace(
        service._runtime._trained.get("all"), answerer=dataclasses.replace(answerer, task=task)
    )
    get = service._runtime._trained.get
    monkeypatch.setattr(
        service._runtime._trained, "get", lambda name: trained if name == "all" else get(name)
    )
    answer = one(serve(service).ask(picture(1), kits=["all"], overlays="true"))["answers"]["all"]
    assert answer["values"]["score"] > 0
    assert answer["shown"]["failed"]["code"] == "plugin/run-failed"
    assert "no <b>pen</b>" in answer["shown"]["failed"]["what"]


def test_a_runtime_refuses_levels_that_it_cannot_follow(runtime, picture):
    pictures = [opened(picture(1))]
    for level in (-0.1, 1.1, float("nan")):
        with refused("usage/out-of-range"):
            runtime.answer(pictures, kits=["all"], levels={"all": level})
    found = runtime.answer(pictures, kits=["all", "few"], levels={"all": 2.0})
    assert list(found) == ["few"], "and takes no other kit with it"
    assert found.failed["all"].code == "usage/out-of-range"


def test_openapi_tells_of_all_of_it(serve, service):
    text = to_json(serve(service).client.get("/openapi.json").json())
    for name in ("ShownAnswer", "RoutedBlock", "Picture", "overlays", "routing", "levels"):
        assert json.dumps(name)[1:-1] in text
