"""Corrections over HTTP: what is kept, what is refused, and what is there to look at."""

import base64
import csv
import dataclasses
import io
import json

import pytest

from moekit.builtin.loaders.corrections import load_corrections
from moekit.corrections.terms import Terms
from moekit.serve.corrections.review import COLUMNS, ReviewList
from moekit.serve.reading import content_of
from moekit.tables import CsvWriter
from moekit.testing import refused


def encoded(content):
    return base64.b64encode(content).decode()


def said(content, kit="slow", classes=("odd",), **fields):
    label = {"form": "class", "classes": list(classes)}
    return {"kit": kit, "image": encoded(content), "label": label, **fields}


@pytest.fixture
def correctable(facts):
    """Facts of kits that take one of two classes; the last one takes nothing."""
    terms = Terms(kit="-", task="-", classes=("good", "odd"), form="class", loader="moekit/folder")
    *some, last = facts("slow", "other", "deaf")
    return [*(dataclasses.replace(one, corrects=terms) for one in some), last]


@pytest.fixture
def server(serve, slow, correctable, tmp_path):
    return serve(slow, facts=correctable, corrections=tmp_path / "kept", most_mib=0.25)


def test_a_correction_is_kept_once_and_superseded_by_a_later_one(server, picture, tmp_path):
    image = picture(1)
    first = server.client.post("/v1/corrections", json=said(image, by="Ada"))
    assert first.status_code == 201
    assert first.json()["image_sha256"] == content_of(image)
    again = server.client.post("/v1/corrections", json=said(image, by="Ada"))
    assert (again.status_code, again.json()["stored"]) == (200, False)
    other = server.client.post("/v1/corrections", json=said(image, classes=["good"]))
    assert other.json()["supersedes"] == first.json()["id"]
    counts = {one["kit"]: one for one in server.client.get("/v1/corrections").json()["kits"]}
    assert (counts["slow"]["corrections"], counts["slow"]["images"]) == (2, 1)
    assert counts["other"]["images"] == 0
    assert "deaf" not in counts
    assert len(load_corrections(tmp_path / "kept" / "slow", 0).samples) == 1


def test_kits_say_what_is_taken_and_without_a_folder_nothing_is(serve, slow, server, correctable):
    taken = {one["name"]: one["corrects"] for one in server.client.get("/v1/kits").json()["kits"]}
    assert taken["slow"]["classes"] == ["good", "odd"]
    assert taken["deaf"] is None
    without = serve(slow, facts=correctable)
    assert {one["corrects"] for one in without.client.get("/v1/kits").json()["kits"]} == {None}
    assert without.client.post("/v1/corrections", json={}).status_code == 404


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"kit": "nobody"}, 404, "usage/unknown-name"),
        ({"kit": "deaf"}, 422, "usage/not-for-task"),
        ({"image": encoded(b"no image")}, 422, "image/not-an-image"),
        ({"image": "%%%"}, 422, "usage/bad-request"),
        ({"label": {"form": "class", "classes": ["bent"]}}, 422, "data/bad-correction"),
        ({"label": {"form": "class", "classes": []}}, 422, "data/bad-correction"),
        ({"label": {"form": "objects", "objects": []}}, 422, "data/bad-correction"),
        ({"label": {"form": "song"}}, 422, "usage/bad-request"),
        ({"by": "two\nlines"}, 422, "usage/bad-request"),
        ({"by": 7}, 422, "usage/bad-request"),
        ({"more": 1}, 422, "usage/bad-request"),
        ({"image": encoded(bytes(300_000))}, 413, "usage/too-large"),
    ],
)
def test_faulty_corrections_are_refused_and_leave_nothing(
    server, picture, tmp_path, change, status, code
):
    reply = server.client.post("/v1/corrections", json={**said(picture(1)), **change})
    assert (reply.status_code, reply.json()["error"]["code"]) == (status, code)
    assert not (tmp_path / "kept" / "slow" / "journal.jsonl").exists()
    assert not (tmp_path / "kept" / "slow" / "images").exists()


def test_a_receipt_must_be_of_the_image(server, picture):
    hashed = content_of(picture(1))
    receipt = {
        "image_sha256": hashed,
        "backbone_sha256": hashed,
        "kit_sha256": hashed,
        "settings_sha256": hashed,
        "computed": None,
    }
    good = server.client.post("/v1/corrections", json=said(picture(1), receipt=receipt))
    assert good.status_code == 201
    wrong = server.client.post("/v1/corrections", json=said(picture(2), receipt=receipt))
    assert wrong.json()["error"]["code"] == "usage/bad-request"


def test_other_bodies_and_strangers_are_refused(serve, slow, correctable, tmp_path, picture):
    server = serve(slow, facts=correctable, corrections=tmp_path, token="t" * 20)
    body = said(picture(1))
    assert server.client.post("/v1/corrections", json=body).status_code == 401
    shown = {"Authorization": f"Bearer {'t' * 20}"}
    assert server.client.post("/v1/corrections", json=body, headers=shown).status_code == 201
    form = server.client.post("/v1/corrections", data={"kit": "slow"}, headers=shown)
    assert form.status_code == 415
    odd = server.client.post(
        "/v1/corrections", content=b"{", headers={**shown, "Content-Type": "application/json"}
    )
    assert odd.status_code == 422


def test_a_full_disk_is_told_and_the_correction_is_taken_later(
    server, picture, tmp_path, monkeypatch
):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("moekit.corrections.kept.os.fsync", full)
        reply = server.client.post("/v1/corrections", json=said(picture(1)))
        assert (reply.status_code, reply.json()["error"]["code"]) == (507, "storage/cannot-write")
    assert server.client.post("/v1/corrections", json=said(picture(1))).status_code == 201
    lines = (tmp_path / "kept" / "slow" / "journal.jsonl").read_text().splitlines()
    assert [json.loads(line)["number"] for line in lines] == [1]


def test_a_name_that_leaves_the_folder_is_refused(serve, slow, correctable, tmp_path):
    odd = [dataclasses.replace(correctable[0], name="..")]
    with refused("usage/no-corrections"):
        serve(slow, facts=odd, corrections=tmp_path)


def test_drafts_of_real_answers_confirm_them(serve, service, picture, tmp_path):
    server = serve(service, corrections=tmp_path)
    (entry,) = server.ask(picture(1), kits=["all"], drafts="true").json()["images"]
    answer = entry["answers"]["all"]
    draft = answer["shown"]["draft"]
    assert draft["size"] == [48, 48]
    meant = {"pass": "good", "defective": "bars"}[answer["verdict"]]
    assert draft["label"] == {"form": "class", "classes": [meant]}
    body = {
        **said(picture(1), "all"),
        "label": draft["label"],
        "confirmed": True,
        "receipt": answer["receipt"],
    }
    assert server.client.post("/v1/corrections", json=body).status_code == 201
    (row,) = csv.DictReader(io.StringIO((tmp_path / "all" / "labels.csv").read_text()))
    assert row["label"] == meant
    assert json.loads(row["receipt"]) == answer["receipt"]
    assert load_corrections(tmp_path / "all", 0).classes == ("good", "bars")


def write_list(folder, contents, gains):
    path = folder / "next.csv"
    with path.open("w", newline="") as file:
        writer = CsvWriter(file)
        writer.writerow(COLUMNS)
        for number, (content, gain) in enumerate(zip(contents, gains, strict=True), 1):
            (folder / f"{number}.png").write_bytes(content)
            writer.writerow([number, f"{number}.png", content_of(content), "odd", gain, "=why"])
    return path


def test_listed_images_are_shown_until_they_are_corrected(
    serve, slow, correctable, tmp_path, picture
):
    contents = [picture(number) for number in range(4)]
    path = write_list(tmp_path, [*contents, contents[0]], [0.2, 0.9, 0.5, 0.1, 0.6])
    review = ReviewList.read([path], most_bytes=2**20)
    server = serve(slow, facts=correctable, corrections=tmp_path / "kept", review=review)
    found = server.client.get("/v1/review").json()
    best = [content_of(contents[number]) for number in (1, 0, 2, 3)]
    assert [one["image_sha256"] for one in found["images"]] == best
    assert found["images"][0]["why"] == "=why"
    assert server.client.get(f"/v1/review/{best[0]}").content == contents[1]
    server.client.post("/v1/corrections", json=said(contents[1]))
    found = server.client.get("/v1/review?most=1").json()
    assert (found["left"], found["listed"]) == (3, 4)
    assert [one["image_sha256"] for one in found["images"]] == best[1:2]


def test_no_other_file_is_handed_out_nor_one_that_changed(serve, slow, tmp_path, picture):
    path = write_list(tmp_path, [picture(1)], [0.5])
    server = serve(slow, review=ReviewList.read([path], most_bytes=2**20))
    assert server.client.get(f"/v1/review/{'0' * 64}").status_code == 404
    assert server.client.get("/v1/review/..%2fnext.csv").status_code in (404, 422)
    (tmp_path / "1.png").write_bytes(picture(2))
    assert server.client.get(f"/v1/review/{content_of(picture(1))}").status_code == 404


@pytest.mark.parametrize("text", ["", "rank,file\n1,a.png\n", "\xff", "gain"])
def test_lists_that_are_none_are_refused(tmp_path, text):
    path = tmp_path / "next.csv"
    path.write_bytes(text.encode("latin-1"))
    with refused("data/bad-list"):
        ReviewList.read([path], most_bytes=100)
    with refused("data/bad-list"):
        ReviewList.read([write_list(tmp_path, [b"a"], [7])], most_bytes=100)


def references(value):
    if isinstance(value, dict):
        yield from ([value["$ref"]] if isinstance(value.get("$ref"), str) else [])
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from references(one)


def test_each_reference_of_the_interface_leads_somewhere(server):
    described = server.client.get("/openapi.json").json()
    found = set(references(described))
    assert len(found) > 5
    for one in found:
        part = described
        for key in one.removeprefix("#/").split("/"):
            part = part[key]
    body = described["paths"]["/v1/corrections"]["post"]["requestBody"]
    label = body["content"]["application/json"]["schema"]["properties"]["label"]
    forms = [one["properties"]["form"]["const"] for one in label["oneOf"]]
    assert forms == ["class", "objects", "mask"]
