"""A request that leaves the choice of the kit to the server."""

import io

import numpy as np
import pytest
from PIL import Image

from moekit.serve.facts import named_runs
from moekit.serve.schema import AnswerReply, KitsReply
from moekit.testing import refused


@pytest.fixture
def foreign():
    """The bytes of a picture that looks like none of the parts."""
    pixels = np.zeros((48, 48, 3), np.uint8)
    pixels[::4, :, 0], pixels[:, ::6, 2] = 255, 220
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_each_image_is_answered_by_the_kit_that_it_belongs_to_or_is_told_to_be_foreign(
    serve, service, runtime, picture, foreign
):
    reply = serve(service).ask(picture(2), foreign, picture(3, odd=True), kits=["auto"])
    assert reply.status_code == 200, reply.text
    AnswerReply.model_validate(reply.json())
    first, second, third = reply.json()["images"]
    for entry, image in ((first, picture(2)), (third, picture(3, odd=True))):
        selected = entry["selected"]
        assert set(selected["scores"]) == set(service.facts)
        assert selected["score"] <= 1
        assert list(entry["answers"]) == [selected["kit"]]
        (alone,) = runtime.answer(
            [Image.open(io.BytesIO(image)).convert("RGB")], kits=[selected["kit"]]
        )[selected["kit"]]
        answer = entry["answers"][selected["kit"]]
        assert answer["values"]["score"] == pytest.approx(alone.score, abs=1e-5)
        assert answer["receipt"]["kit_sha256"] == service.facts[selected["kit"]].kit_sha256
    assert second["selected"]["kit"] is None
    assert second["selected"]["score"] > 1
    assert second["answers"] == second["failed"] == {}
    assert second["error"] is None


def test_a_request_of_foreign_images_only_is_answered_too(serve, service, foreign):
    reply = serve(service).ask(foreign, kits=["auto"])
    assert reply.status_code == 200
    assert reply.json()["images"][0]["selected"]["kit"] is None


def test_an_image_that_cannot_be_read_does_not_stop_the_choice_for_others(serve, service, picture):
    reply = serve(service).ask(b"no image", picture(2), kits=["auto"])
    unread, read = reply.json()["images"]
    assert unread["error"]["code"].startswith("image/")
    assert "selected" not in unread
    assert read["selected"]["kit"] in service.facts


def test_the_server_says_which_kits_can_be_chosen(serve, service, facts, picture, slow):
    reply = serve(service).client.get("/v1/kits")
    KitsReply.model_validate(reply.json())
    assert all(one["can_be_chosen"] for one in reply.json()["kits"])
    none = serve(slow).ask(picture(1), kits=["auto"])
    assert none.status_code == 422
    assert none.json()["error"]["code"] == "usage/no-domain"


def test_auto_is_no_name_of_a_run_and_is_named_by_itself(serve, service, picture):
    with refused("usage/same-name", match="a kit is chosen"):
        named_runs(["auto=runs/parts"])
    reply = serve(service).ask(picture(1), kits=["auto", "all"])
    assert reply.status_code in (404, 422)
