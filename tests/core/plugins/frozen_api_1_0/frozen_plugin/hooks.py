"""Hooks, records and protocols as of API 1.0."""

import numpy as np
import torch
from PIL import Image
from torch import nn

import moekit


class TokenExpert(nn.Module):
    reads_map = False

    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(width, width)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x_TD):
        return self.linear(x_TD)


class MapExpert(nn.Module):
    reads_map = True

    def __init__(self, width):
        super().__init__()
        self.convolution = nn.Conv2d(width, width, 3, padding=1, groups=width)
        nn.init.zeros_(self.convolution.weight)
        nn.init.zeros_(self.convolution.bias)

    def forward(self, x_BND, grid):
        prefix = x_BND.shape[1] - grid.rows * grid.columns
        plane = x_BND[:, prefix:].transpose(1, 2).unflatten(2, grid)
        local = self.convolution(plane).flatten(2).transpose(1, 2)
        return torch.cat([0 * x_BND[:, :prefix], local], dim=1)


class FrozenGate:
    unit_weights = False

    def __call__(self, scores_BNE, *, k, bias_E=None):
        scores_TE = scores_BNE.flatten(0, 1)
        ranked = scores_TE if bias_E is None else scores_TE + bias_E
        expert_TK = ranked.topk(k, dim=1).indices
        weight_TK = scores_TE.gather(1, expert_TK).softmax(1)
        tokens = torch.arange(len(scores_TE)).repeat_interleave(k)
        return moekit.Routing(
            token_P=tokens,
            expert_P=expert_TK.reshape(-1),
            weight_P=weight_TK.reshape(-1),
            tokens=scores_TE.shape[0],
            experts=scores_TE.shape[1],
        )


class Head(nn.Module):
    def __init__(self, width, blocks):
        super().__init__()
        self.linear = nn.Linear(width * blocks, 1)

    def forward(self, tokens, grid):
        joined = torch.cat([x.float() for x in tokens], dim=2)[:, -grid.rows * grid.columns :]
        scores = self.linear(joined)[..., 0]
        return moekit.HeadOutput(
            logit_B=scores.mean(1), map_BHW=scores.sigmoid().unflatten(1, grid)
        )


def load(path, seed):
    if path is None or not path.is_dir():
        raise moekit.DataError("no such folder", whose=str(path), fix="name one")
    samples = tuple(
        moekit.Sample(
            id=file.name,
            path=file,
            label=int(file.name[0] == "b"),
            target=None,
            group=file.stem,
            subtype="grey",
            split=None,
        )
        for file in sorted(path.glob("*.png"))
    )
    dataset = moekit.Dataset(
        name="frozen-data",
        samples=samples,
        classes=("a", "b"),
        licence="CC0-1.0",
        source="made up",
        split_note="none",
        skipped=(),
    )
    return moekit.split_dataset(dataset, seed=seed)


def write_example(folder):
    random = np.random.default_rng(0)
    for letter in "ab":
        for number in range(12):
            pixels = random.integers(0, 256, (20, 20), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{letter}{number:02}.png")
    return folder


def share_right(scores, labels, threshold):
    return float(((scores >= threshold) == labels).mean()) if len(scores) else float("nan")


@moekit.hookimpl
def moekit_experts():
    return [
        moekit.ExpertSpec(name="frozen-token", build=TokenExpert, summary="-", source="-"),
        moekit.ExpertSpec(name="frozen-map", build=MapExpert, summary="-", source="-"),
    ]


@moekit.hookimpl
def moekit_gates():
    return [
        moekit.GateSpec(
            name="frozen-gate",
            build=FrozenGate,
            summary="-",
            source="-",
            weights="normalised",
            count="exact",
        )
    ]


@moekit.hookimpl
def moekit_datasets():
    return [
        moekit.DatasetSpec(
            name="frozen-data",
            load=load,
            summary="-",
            takes_path="required",
            licence="CC0-1.0",
            example=write_example,
        )
    ]


@moekit.hookimpl
def moekit_metrics():
    return [
        moekit.MetricSpec(
            name="frozen-metric",
            compute=share_right,
            higher_is_better=True,
            bounds=(0.0, 1.0),
            summary="-",
            source="-",
            examples=(
                moekit.MetricExample(
                    scores=(0.2, 0.7), labels=(0, 0), threshold=0.5, value=0.5, source="by hand"
                ),
            ),
        )
    ]


@moekit.hookimpl
def moekit_kits():
    return [
        moekit.KitSpec(
            name="frozen",
            summary="-",
            slots=(
                moekit.SpecialistSlot(
                    block=-1,
                    experts=("frozen-plugin/frozen-token", "frozen-map"),
                    gate="frozen-gate",
                    top_k=2,
                ),
            ),
            head_blocks=(-2, -1),
            build_head=Head,
            recipe=moekit.Recipe(image_size=224, views=2, epochs=2, learning_rate=1e-3),
            metrics=("auroc", "frozen-metric"),
            positive="b",
            outcome_names={"missed": "miss", "false_alarm": "false alarm"},
            demo_dataset="folder",
            disclaimer="A disclaimer.",
        )
    ]


@moekit.hookimpl
def moekit_health_checks():
    return [moekit.HealthCheckSpec(name="frozen-health", run=lambda: None, summary="-")]


def render(context):
    return moekit.ReportSection(
        title="Frozen",
        paragraphs=(str(sorted(context.record)), str(context.predictions is None)),
        tables=(moekit.ReportTable(columns=("n",), rows=((str(context.result["n"]),),)),),
    )


@moekit.hookimpl
def moekit_report_sections():
    return [
        moekit.ReportSectionSpec(
            name="frozen-section", kits=("frozen",), render=render, summary="-"
        )
    ]


@moekit.hookimpl
def moekit_run_started(event):
    (event.folder / f"frozen-{event.command}.txt").write_text(f"{event.kit} {event.dataset}")


@moekit.hookimpl
def moekit_run_finished(event):
    (event.folder / "frozen-finished.txt").write_text(str(sorted(event.record)))
