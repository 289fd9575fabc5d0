"""The head: what its parts promise, and that it learns."""

import functools

import numpy as np
import pytest
import torch

from moekit import Grid, HeadSite, Recipe
from moekit_detection.boxes import corners, from_corners, moved
from moekit_detection.denoising import MOST, disturbed, mask
from moekit_detection.example import draw_example
from moekit_detection.head import DENSE_BOX, DENSE_LOGIT, AnchorHead, PlainQueryHead
from moekit_detection.learn import BOXES, LABELS, figures, loss
from moekit_detection.queries import Gate
from moekit_detection.records import BOX, LOGIT
from moekit_detection.spec import small_head

GRID = Grid(4, 5)
SITE = HeadSite(width=16, blocks=2, classes=3)
TRUTH = {
    LABELS: torch.tensor([[0, 2], [1, -1]]),
    BOXES: torch.tensor([[[0.3, 0.3, 0.2, 0.2], [0.7, 0.6, 0.3, 0.2]], [[0.5, 0.5, 0.4, 0.4]] * 2]),
}


def inputs(count=2, grid=GRID, width=16):
    generator = torch.Generator().manual_seed(3)
    tokens = [torch.randn(count, 1 + grid.patches, width, generator=generator) for _ in range(2)]
    picture = torch.randn(count, 3, 14 * grid.rows, 14 * grid.columns, generator=generator)
    return tokens, grid, picture


def made(build, **changes):
    torch.manual_seed(0)
    return build(SITE, width=16, stem=16, queries=20, heads=2, points=2, **changes)


@pytest.mark.parametrize("build", [AnchorHead, PlainQueryHead])
def test_a_judged_head_gives_what_the_task_declares_and_nothing_else(build):
    found = made(build).eval()(*inputs())
    assert set(found) == {LOGIT, BOX}
    assert found[LOGIT].shape == (2, 20, 3)
    assert found[BOX].shape == (2, 20, 4)
    assert ((found[BOX] >= 0) & (found[BOX] <= 1)).all()


def test_before_training_the_decoder_gives_what_the_first_stage_proposes():
    head = made(AnchorHead).train()
    found = head(*inputs())
    for row in range(2):
        proposed = torch.cat([found[DENSE_LOGIT][row], found[DENSE_BOX][row]], 1)
        for query in torch.cat([found[LOGIT][row], found[BOX][row]], 1):
            assert (proposed - query).abs().amax(1).min() < 1e-6


def test_denoising_queries_are_not_seen_by_the_others():
    """They know the truth: what is judged must not depend on it."""
    head = made(AnchorHead).train()
    for layer in head.decode.layers:  # awake, so that what is seen shows
        torch.nn.init.normal_(layer.move[-1].weight, std=0.1)
        torch.nn.init.normal_(layer.classify.weight, std=0.1)
    without, with_truth = head(*inputs()), head(*inputs(), TRUTH)
    assert set(with_truth) > set(without)
    for name in without:
        torch.testing.assert_close(with_truth[name], without[name])


def test_every_layer_and_the_first_stage_are_learned():
    head = made(AnchorHead).train()
    loss(head(*inputs(), TRUTH), TRUTH, Recipe()).backward()
    for name, value in head.named_parameters():
        assert value.grad is not None, name
        assert value.grad.isfinite().all(), name
    assert head.propose.measure.weight.grad.abs().sum() > 0
    assert all(layer.move[-1].weight.grad.abs().sum() > 0 for layer in head.decode.layers)


def test_pictures_without_objects_are_learned_from():
    head = made(AnchorHead).train()
    nothing = {LABELS: torch.zeros(2, 0, dtype=torch.int64), BOXES: torch.zeros(2, 0, 4)}
    value = loss(head(*inputs(), nothing), nothing, Recipe())
    value.backward()
    assert value > 0
    assert value.isfinite()


def test_the_gate_takes_peaks_before_their_neighbours():
    logit = torch.full((1, 30, 2), -5.0)
    logit[0, 7, 0], logit[0, 8, 0], logit[0, 22, 1] = 3.0, 2.5, -1.0
    chosen = Gate(3)(logit, 5, 6)[0].tolist()
    assert chosen[:2] == [7, 22], "a neighbour of a greater peak is none"


def test_there_are_no_more_queries_than_places():
    found = made(functools.partial(AnchorHead)).eval()(*inputs(grid=Grid(1, 2)))
    assert found[BOX].shape == (2, 8, 4)


def test_a_head_without_its_picture_says_so():
    tokens, grid, _ = inputs()
    with pytest.raises(ValueError, match="picture"):
        made(AnchorHead)(tokens, grid)


def test_of_stacks_the_middle_frame_is_looked_at():
    head = made(AnchorHead).eval()
    tokens, grid, picture = inputs(3)
    stack = Grid(grid.rows, grid.columns, frames=3)
    found = head(tokens, stack, picture[None])
    alone = head([one[1:2] for one in tokens], grid, picture[1:2])
    torch.testing.assert_close(found[BOX], alone[BOX])


def test_boxes_and_corners_are_the_same_thing_and_moves_are_parts_of_sides():
    box = torch.tensor([[0.5, 0.4, 0.2, 0.1]])
    torch.testing.assert_close(from_corners(corners(box)), box)
    step = torch.tensor([[0.5, -1.0, 0.0, float(np.log(2))]])
    torch.testing.assert_close(moved(box, step), torch.tensor([[0.6, 0.3, 0.2, 0.2]]))


def test_near_noise_is_to_be_undone_and_far_noise_to_be_called_nothing():
    torch.manual_seed(0)
    found, size = disturbed(TRUTH[LABELS], TRUTH[BOXES], classes=3, pairs=2)
    assert size == 4
    assert found.object_BE[0].tolist() == [0, 1, -1, -1] * 2
    assert found.counts_BE[1].tolist() == [True, False] * 4
    away = (found.box_BE4[0, :, :2] - TRUTH[BOXES][0].repeat(4, 1)[:, :2]).abs()
    away = away / TRUTH[BOXES][0].repeat(4, 1)[:, 2:]
    near = found.object_BE[0] >= 0
    assert away[near].max() <= 0.2 < away[~near].min() + 1e-6


def test_disturbed_objects_are_bounded():
    labels, boxes = torch.zeros(1, MOST + 9, dtype=torch.int64), torch.full((1, MOST + 9, 4), 0.5)
    found, size = disturbed(labels, boxes, classes=1, pairs=1)
    assert size == 2 * MOST == found.label_BE.shape[1]


def test_a_group_sees_itself_and_the_plain_queries():
    seen = mask(2, 2, 3, torch.device("cpu"))
    assert seen[:2].tolist() == [[True] * 2 + [False] * 6] * 2
    assert seen[2].tolist() == [True] * 5 + [False] * 3
    assert seen[7].tolist() == [True] * 2 + [False] * 3 + [True] * 3


def test_squares_and_discs_are_found_after_a_short_training():
    drawn = [draw_example(number) for number in range(40)]
    pixels = torch.stack([torch.from_numpy(one) for one, _ in drawn]).permute(0, 3, 1, 2)
    picture = torch.nn.functional.interpolate(pixels.float() / 128 - 1, (56, 56), mode="bilinear")
    box = torch.tensor(np.stack([one.box_G4 for _, one in drawn]) / np.tile([56, 40], 2))
    box = torch.cat([box[..., :2] + box[..., 2:] / 2, box[..., 2:]], -1).float()
    truth = {LABELS: torch.tensor([[0, 1]] * 40), BOXES: box}
    grid = Grid(4, 4)
    tokens = [torch.zeros(40, 17, 16)] * 2
    torch.manual_seed(0)
    head = small_head(HeadSite(width=16, blocks=2, classes=2))
    optimizer = torch.optim.AdamW(head.parameters(), lr=5e-3)
    for step in range(60):
        rows = torch.arange(8) + 8 * (step % 4)
        part = {name: value[rows] for name, value in truth.items()}
        outputs = head([one[rows] for one in tokens], grid, picture[rows], part)
        optimizer.zero_grad()
        loss(outputs, part, Recipe()).backward()
        optimizer.step()
    with torch.no_grad():
        judged = head.eval()([one[32:] for one in tokens], grid, picture[32:])
    unseen = {name: value[32:] for name, value in truth.items()}
    assert figures(judged, unseen)["found50"] > 0.8
