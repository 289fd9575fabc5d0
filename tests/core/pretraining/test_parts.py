"""Crops, objectives, probes and the rank of features, each by itself."""

import copy

import numpy as np
import pytest
import torch

from moekit.data.content import Contents
from moekit.data.geometry import Frame
from moekit.moe.specialists import Grid
from moekit.pretraining.collapse import effective_rank, refuse_collapse
from moekit.pretraining.crops import crop_box, cropped_samples, small_frame
from moekit.pretraining.fit import momentum_at, probe_steps
from moekit.pretraining.judge import worse_in_words
from moekit.pretraining.learner import Learner
from moekit.pretraining.objectives import SelfDistillation, hide
from moekit.pretraining.probe import judged, linear_probe, neighbours
from moekit.pretraining.recipe import PretrainRecipe
from moekit.testing import refused


def test_the_rank_is_one_for_equal_images_and_all_for_independent_ones():
    assert effective_rank(torch.ones(10, 8)) == pytest.approx(1, abs=1e-3)
    assert effective_rank(torch.eye(8)) == pytest.approx(8, abs=1e-3)
    half = torch.cat([torch.eye(8)[:4], torch.zeros(4, 8)])
    assert effective_rank(half) == pytest.approx(4, abs=1e-2)


def test_a_rank_below_its_share_is_refused():
    refuse_collapse(3.0, 10.0, 0.3)
    with refused("weights/collapsed"):
        refuse_collapse(2.9, 10.0, 0.3)


def test_crops_lie_in_the_picture_and_have_the_area_that_is_asked_for():
    generator = np.random.default_rng(0)
    for size in ((300, 300), (40, 900), (3, 3), (1, 1)):
        for _ in range(50):
            box = crop_box(size, (0.1, 0.4), generator)
            assert 0 <= box.top <= box.top + box.height <= size[0]
            assert 0 <= box.left <= box.left + box.width <= size[1]
            assert box.height > 0 < box.width
    areas = [np.prod(crop_box((500, 500), (0.1, 0.4), generator)[2:]) for _ in range(200)]
    assert 0.09 < min(areas) / 500**2 < max(areas) / 500**2 < 0.41


def test_crops_depend_on_the_content_and_not_on_the_name(cells, tmp_path):
    one = cells.samples[0]
    (tmp_path / "other.png").write_bytes(one.path.read_bytes())
    other = type(one)(id="other", path=tmp_path / "other.png", label=0)
    how = {"count": 3, "area": (0.1, 0.4), "seed": 0}
    found = cropped_samples([one, other], Contents(), **how)
    windows = [sample.window for sample in found]
    assert windows[:3] == windows[3:]
    assert len(set(windows)) == 3
    again = cropped_samples([one], Contents(), **{**how, "seed": 1})
    assert [sample.window for sample in again] != windows[:3]


def test_small_inputs_are_whole_patches_and_two_at_least():
    assert small_frame(Frame(height=224, width=140), 0.5, 14) == Frame(height=112, width=70)
    assert small_frame(Frame(height=28, width=28), 0.1, 14) == Frame(height=28, width=28)


def test_as_many_patches_are_hidden_in_each_row():
    hidden = hide(5, Grid(6, 7), 0.3, torch.Generator().manual_seed(0))
    assert hidden.shape == (5, 42)
    assert hidden.sum(1).tolist() == [13] * 5
    assert not hide(5, Grid(6, 7), 0.0, torch.Generator()).any()


def test_following_the_teacher_costs_less_than_saying_something_else():
    recipe = PretrainRecipe(prototypes=8, spread=0.0)
    target = SelfDistillation(recipe)
    codes = torch.eye(8)[:4]
    goal = {"large_IK": torch.cat([codes, codes]), "patch_MK": codes}
    same = {**goal, "feature_ID": torch.ones(8, 3), "small_IK": codes}
    other = {**same, "large_IK": same["large_IK"].flip(1), "small_IK": codes.flip(1)}
    assert float(target.loss(same, goal)) < 0.5 * float(target.loss(other, goal))


class Plain(torch.nn.Module):
    """An encoder of tokens, one layer."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(12, 12)

    def forward(self, tokens, grid, hidden_RP=None):
        if hidden_RP is not None:
            shown = torch.cat([torch.ones(len(tokens), 1), ~hidden_RP], dim=1)
            tokens = tokens * shown[..., None]
        mixed = self.layer(tokens + tokens.mean(1, keepdim=True))
        return mixed[:, 0], mixed[:, 1:]


def test_a_learner_comes_to_say_what_its_averaged_copy_says_of_other_crops(generator):
    torch.manual_seed(0)
    grid = Grid(2, 2)
    target = SelfDistillation(PretrainRecipe(prototypes=16))
    learner = Learner(Plain(), head=lambda: target.head(12), large=grid, small=grid)
    average = copy.deepcopy(learner).requires_grad_(False)
    images = torch.randn(8, 5, 12, generator=generator)
    crops = [images + 0.3 * torch.randn(8, 5, 12, generator=generator) for _ in range(3)]
    large, small = torch.cat(crops[:2]), crops[2]
    hidden = hide(16, grid, 0.5, generator)
    optimiser = torch.optim.AdamW(learner.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        taught = target.taught(average, large, grid, hidden)
        if not losses:
            target.begin(taught, lambda mean: mean)
        loss = target.loss(learner(large, small, hidden), taught)
        target.follow(taught, lambda mean: mean)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.9 * losses[0]
    assert learner.encoder.layer.weight.grad.any()


def test_the_centre_follows_the_mean_of_what_was_said():
    target = SelfDistillation(PretrainRecipe(prototypes=4, centre_decay=0.5))
    none = torch.zeros(0, 4)
    target.begin({"large_IK": torch.full((6, 4), 2.0), "patch_MK": none}, lambda mean: mean)
    for _ in range(2):
        said = {"large_IK": torch.full((6, 4), 1.0), "patch_MK": none}
        target.follow(said, lambda mean: mean)
    centres = dict(target.centres.named_buffers())
    torch.testing.assert_close(centres["large_IK"], torch.full((4,), 1.25))
    assert not centres["patch_MK"].any()


def test_images_that_lie_together_cost_more_than_those_apart():
    target = SelfDistillation(PretrainRecipe(prototypes=4, spread=1.0))
    said = {"large_IK": torch.zeros(4, 4), "patch_MK": torch.zeros(0, 4)}
    near = torch.tensor([[1.0, 0.01], [1.0, 0.0]]).repeat(2, 1)
    far = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).repeat(2, 1)
    costs = [float(target.loss({**said, "feature_ID": one}, said)) for one in (near, far)]
    assert costs[1] < costs[0]


def test_the_ridge_of_the_probe_is_that_of_the_smallest_leave_one_out_error():
    generator = np.random.default_rng(0)
    x_ND = generator.normal(size=(30, 6))
    labels = (x_ND[:, 0] + 0.5 * generator.normal(size=30) > 0).astype(int)
    scaled = (x_ND - x_ND.mean(0)) / (x_ND.std(0) + 1e-6)
    goal = np.eye(2)[labels]

    def solved(rows, ridge):
        x, y = scaled[rows], goal[rows]
        mean_x, mean_y = x.mean(0), y.mean(0)
        inner = (x - mean_x).T @ (x - mean_x) + ridge * np.eye(6)
        weights = np.linalg.solve(inner, (x - mean_x).T @ (y - mean_y))
        return lambda one: (one - mean_x) @ weights + mean_y

    ridges = 10.0 ** np.arange(-4, 5) * 30
    everything = np.arange(30)
    errors = [
        np.mean(
            [
                np.square(solved(np.delete(everything, row), ridge)(scaled[row]) - goal[row])
                for row in everything
            ]
        )
        for ridge in ridges
    ]
    best = solved(everything, ridges[int(np.argmin(errors))])(scaled)
    np.testing.assert_allclose(linear_probe(x_ND, labels, x_ND), best, atol=1e-8)


def test_probe_and_neighbours_tell_classes_apart_that_lie_apart():
    generator = np.random.default_rng(0)
    centres = 4 * generator.normal(size=(3, 10))
    train, other = np.arange(60) % 3, np.arange(30) % 3
    x_ND = centres[train] + generator.normal(size=(60, 10))
    x_QD = centres[other] + generator.normal(size=(30, 10))
    for way in (linear_probe, neighbours):
        assert judged(way(x_ND, train, x_QD), other) > 0.9
        both = train < 2
        score = judged(way(x_ND[both], train[both], x_QD[other < 2]), other[other < 2])
        assert score > 0.95


def test_features_that_became_worse_are_told():
    start, worse, better = {"probe": 0.5, "rank": 9.0}, {"probe": 0.4}, {"probe": 0.6}
    (told,) = worse_in_words([start, worse])
    assert told.startswith("the linear probe on validation data fell from 0.5000 to 0.4000")
    assert worse_in_words([start, worse, better]) == ()
    assert worse_in_words([{"rank": 9.0}, {"rank": 8.0}]) == ()


def test_features_are_judged_evenly_and_at_the_end():
    assert sorted(probe_steps(10, 5)) == [2, 4, 6, 8, 10]
    assert sorted(probe_steps(2, 5)) == [1, 2]


def test_the_averaged_copy_follows_quickly_first_and_stands_still_at_the_end():
    assert momentum_at(0.99, 0.0, 0) == pytest.approx(0.1)
    assert momentum_at(0.99, 0.5, 10_000) == pytest.approx(0.995)
    assert momentum_at(0.99, 1.0, 10_000) == pytest.approx(1, abs=1e-3)
