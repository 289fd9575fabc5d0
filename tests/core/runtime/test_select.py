"""Pictures are sent to the kit that they belong to, or to none, by the trunk that all share."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from moekit.errors import PluginError
from moekit.runtime.cells import cells_of
from moekit.runtime.select.answer import select
from moekit.runtime.select.domain import Choice, Domain, features_of, quantile, shrinkage
from moekit.testing import refused
from tests.core.runtime.test_together import (  # noqa: F401
    WIDE,
    ClassHead,
    LinearSegHead,
    Tiling,
    kits,
    made,
    plain,
)

LOOKS = {"plain": 0.0, "grain": 1.0}


def drawn(look, count, *, seed=0):
    """Pictures of a look, each a little different."""
    numbers = np.random.default_rng([seed, len(look)])
    found = []
    for _ in range(count):
        base = np.full((40, 40, 3), 60.0) + numbers.normal(0, 6, (1, 1, 3))
        if look == "grain":
            base = base + numbers.normal(90, 60, (40, 40, 3))
        if look == "stripes":
            base[::8] = 255
            base[:, ::3] -= 60
        found.append((Image.fromarray(base.clip(0, 255).astype(np.uint8)),))
    return found


def with_look(kit, look, *, block=None):
    """A kit whose domain is fitted on pictures of a look."""
    predictor, preprocess = kit.predictor, kit.answerer.preprocess
    backbone = predictor.backbone
    block = predictor.kit.prefix_end if block is None else block

    def features(stacks):
        images = torch.stack([preprocess.tensor(one) for (one,) in stacks])
        with torch.inference_mode():
            x_BND, grid = backbone.embed(images)
            x_BND, _ = backbone.run_blocks(x_BND, grid, stop=block, top_k=predictor.top_k)
        return features_of(cells_of(x_BND, grid))

    domain = Domain.fit(features(drawn(look, 32)), features(drawn(look, 40, seed=1)), block=block)
    # These tests are not about the share of false refusals.
    return dataclasses.replace(kit, domain=dataclasses.replace(domain, limit=1.5 * domain.limit))


@pytest.fixture
def chosen(made):  # noqa: F811
    """Kits of other tasks and ways to answer, for two looks."""
    return {
        "plain": with_look(made(9, 10, 11), "plain"),
        "grain": with_look(
            made(10, seed=6, views=(2, 0), head=ClassHead, task="classify"), "grain"
        ),
    }


def ask(kits, pictures, **options):  # noqa: F811
    return select(kits, lambda frames, bits: pictures, batch_size=3, **{"answers": True, **options})


def test_each_picture_goes_to_its_kit_and_a_foreign_one_to_none(chosen):
    pictures = [*drawn("plain", 4, seed=2), *drawn("grain", 3, seed=2), *drawn("stripes", 3)]
    found = ask(chosen, pictures, answers=False)
    assert [one.choice.kit for one in found] == ["plain"] * 4 + ["grain"] * 3 + [None] * 3
    for one in found:
        assert (one.choice.score <= 1) == (one.choice.kit is not None)
        assert one.choice.score == min(one.choice.scores.values())
        assert one.answer is None


def test_the_chosen_kit_answers_as_it_does_by_itself(chosen):
    pictures = [*drawn("plain", 2, seed=2), *drawn("grain", 3, seed=2), *drawn("plain", 2, seed=3)]
    found = ask(chosen, pictures)
    for one, picture in zip(found, pictures, strict=True):
        (alone,) = chosen[one.choice.kit].answerer.answer([picture])
        same(plain(one.answer), plain(alone))


def same(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        if isinstance(value, float):
            assert value == pytest.approx(other[name], abs=1e-5), name
        elif isinstance(value, bytes):
            parts = [np.frombuffer(given, np.float32) for given in (value, other[name])]
            np.testing.assert_allclose(*parts, atol=1e-4)
        elif isinstance(value, str | int):
            assert value == other[name], name


def test_the_trunk_runs_once_for_kits_that_read_pictures_alike(made, monkeypatch):  # noqa: F811
    kits = {  # noqa: F811
        "plain": with_look(made(9), "plain"),
        "grain": with_look(made(11, seed=3), "grain"),
        "mean": with_look(made(8, seed=4, mean=True), "stripes"),
    }
    backbone = kits["plain"].predictor.backbone
    counted = []
    embed = type(backbone).embed
    monkeypatch.setattr(
        type(backbone),
        "embed",
        lambda self, images: counted.append(len(images)) or embed(self, images),
    )
    found = ask(kits, [*drawn("plain", 3, seed=2), *drawn("stripes", 3, seed=2)])
    assert counted == [3, 3]
    assert [one.choice.kit for one in found] == ["plain"] * 3 + ["mean"] * 3
    assert all(one.answer is not None for one in found)


def test_a_picture_that_is_cut_is_chosen_by_all_its_windows_and_answered(made):  # noqa: F811
    wide = made(
        10,
        seed=8,
        frame=WIDE,
        head=LinearSegHead,
        task="segment",
        tiling=Tiling(height=28, width=56),
    )
    kits = {"wide": with_look(wide, "plain"), "grain": with_look(made(9), "grain")}  # noqa: F811
    large = (drawn("plain", 1, seed=4)[0][0].resize((120, 90)),)
    kits["wide"] = dataclasses.replace(
        kits["wide"], domain=dataclasses.replace(kits["wide"].domain, limit=1e6)
    )
    (found,) = ask(kits, [large])
    (alone,) = kits["wide"].answerer.answer([large])
    assert found.choice.kit == "wide"
    assert plain(found.answer) == plain(alone)


def test_a_kit_that_fails_takes_only_its_own_pictures_with_it(chosen, made):  # noqa: F811
    chosen["grain"] = with_look(made(10, seed=6, expert="thrower"), "grain")
    found = ask(chosen, [*drawn("plain", 2, seed=2), *drawn("grain", 1, seed=2)])
    assert [one.error is None for one in found] == [True, True, False]
    assert isinstance(found[2].error, PluginError)
    assert found[2].choice.kit == "grain"


def test_what_a_kit_says_of_a_picture_does_not_depend_on_other_kits_or_pictures(chosen):
    pictures = [*drawn("grain", 2, seed=5), *drawn("plain", 3, seed=5)]
    both = ask(chosen, pictures, answers=False)
    one = ask({"plain": chosen["plain"]}, pictures[2:3], answers=False)
    assert one[0].choice.scores["plain"] == pytest.approx(both[2].choice.scores["plain"], rel=1e-4)


def test_a_run_that_does_not_say_what_its_pictures_look_like_is_refused_by_name(made, chosen):  # noqa: F811
    with refused("usage/no-domain", match="old"):
        ask({**chosen, "old": made(9)}, drawn("plain", 1))


def test_the_limit_lets_a_share_of_new_pictures_of_the_same_kind_pass():
    numbers = np.random.default_rng(0)
    spread = numbers.normal(size=(40, 40))
    train, val, new = (numbers.normal(size=(count, 40)) @ spread for count in (120, 200, 4000))
    domain = Domain.fit(train, val, block=7)
    assert (domain.scores(new) > 1).mean() == pytest.approx(0.05, abs=0.02)
    assert (domain.scores(new + 8 * spread[0]) > 1).mean() > 0.95


def test_shrinking_makes_a_covariance_of_few_pictures_usable():
    numbers = np.random.default_rng(0)
    few = numbers.normal(size=(8, 100))
    assert shrinkage(few - few.mean(0)) > 0.6
    many = numbers.normal(size=(4000, 10)) * np.arange(1, 11)
    assert shrinkage(many - many.mean(0)) < 0.05
    domain = Domain.fit(few, numbers.normal(size=(8, 100)), block=0)
    assert np.isfinite(domain.scores(numbers.normal(size=(3, 100)))).all()


def test_the_quantile_of_too_few_values_is_the_largest():
    assert quantile(np.arange(10.0), 0.95) == 9.0
    assert quantile(np.arange(100.0), 0.95) == 95.0


def test_a_picture_at_the_limit_is_of_the_kit():
    assert Choice.of({"one": 1.0, "other": 1.2}).kit == "one"
    assert Choice.of({"one": 1.3, "other": 1.2}).kit is None
    assert Choice.of({"one": 1.3, "other": 1.2}).nearest == "other"
