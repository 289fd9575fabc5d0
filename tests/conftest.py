"""What many tests share: the real backbone, real photographs, a small model, fake plugins."""

from __future__ import annotations

import copy
import functools
import gc
import importlib.resources
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.onnx._internal.exporter._registration import ONNXRegistry

import moekit
from moekit import MoEBackbone, Provenance
from moekit.cli.main import main
from moekit.data.near import find
from moekit.jobs import session

ROOT = Path(__file__).parents[1]
SHARED = ROOT / ".." / "shared"
FEW = 200
ALL_PAIRS = {name: getattr(find, name) for name in ("VERIFIED", "DRAWN", "OF_KIND")}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of data that is not part of the repository."""
    if not SHARED.is_dir():
        pytest.skip("there is no folder `shared` next to the repository")
    return SHARED.resolve()


@pytest.fixture
def case(shared: Path) -> Callable[[str], Path]:
    """Finds the folder of an input from the field that once went wrong."""

    def path(name: str) -> Path:
        found = shared / "cases/field" / name
        if not found.exists():
            pytest.skip("the cases are not there")
        return found

    return path


@pytest.fixture(scope="session", autouse=True)
def quick() -> Iterator[None]:
    """What makes all tests but the benchmarks quick, and is no test's subject.

    - One thread: a worker a core; with more threads they, and the commands they start, wait for
      each other, and small products do so a hundredfold where the machine is busy.
    - Fewer bootstrap samples, of which most of the time of a small run would go. Tests of intervals
      name their number.
    - Fewer pairs are compared by pixels in the search for near-duplicates, of which most of the
      time of a small training would go. Tests of that search use `all_pairs`.
    - Commands build the default backbone once; each has a copy of its own.
    - torch reads its table of graph operators once, and not again for each graph.
    - Python looks for cycles of objects seldom, and not among what the imports made.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        for place in ("evaluation.bootstrap", "training.selection", "tasks.segment.intervals"):
            patch.setattr(f"moekit.{place}.RESAMPLES", FEW)
        patch.setattr(find, "VERIFIED", 4)
        patch.setattr(find, "DRAWN", 8)
        patch.setattr(find, "OF_KIND", 1)
        patch.setattr(session, "build_backbone", _build_once)
        table = functools.cache(ONNXRegistry.from_torchlib)
        patch.setattr(ONNXRegistry, "from_torchlib", staticmethod(table))
        yield
    torch.set_num_threads(threads)
    gc.set_threshold(*thresholds)
    gc.unfreeze()


@pytest.fixture(scope="module")
def all_pairs() -> Iterator[None]:
    """As many pairs are compared in the search for near-duplicates as users' are."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ALL_PAIRS.items():
            patch.setattr(find, name, value)
        yield


_built: dict[Any, MoEBackbone] = {}


def _build_once(architecture: str, *, weights: str, top_k: int | None, form: str) -> MoEBackbone:
    options = {"weights": weights, "top_k": top_k, "form": form}
    if weights != "auto":
        return moekit.build_backbone(architecture, **options)
    key = (architecture, top_k, form)
    if key not in _built:
        _built[key] = moekit.build_backbone(architecture, **options)
    return copy.deepcopy(_built[key])


@pytest.fixture(scope="session")
def backbone() -> Iterator[MoEBackbone]:
    """The backbone with its real weights. No test may change it, except `top_k`."""
    model = moekit.build_backbone()
    before = _checksum(model)
    yield model
    assert _checksum(model) == before, "a test changed the shared backbone"


@pytest.fixture(autouse=True)
def _top_k_is_restored(request: pytest.FixtureRequest) -> Iterator[None]:
    if "backbone" not in request.fixturenames:
        yield
        return
    model: MoEBackbone = request.getfixturevalue("backbone")
    yield
    model.top_k = model.experts


@pytest.fixture(scope="session")
def photos() -> Tensor:
    """(4, 3, 224, 224) float32: photographs of solar cells, two of them defective, normalised."""
    pytest.importorskip("elpv_dataset", reason="the photographs come with elpv-dataset")
    folder = importlib.resources.files("elpv_dataset").joinpath("data", "images")
    pixels = []
    for name in ("cell0001.png", "cell0004.png", "cell0007.png", "cell2000.png"):
        with folder.joinpath(name).open("rb") as file, Image.open(file) as image:
            pixels.append(np.asarray(image.convert("RGB").resize((224, 224))))
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))
    return (images - mean) / std


@pytest.fixture(scope="session")
def carve() -> Callable[..., MoEBackbone]:
    """Carves a timm model with a made-up provenance."""
    provenance = Provenance(
        architecture="tests",
        source="file",
        origin="random numbers",
        sha256="0" * 64,
        licence="CC0-1.0",
        note="Not trained.",
    )
    return functools.partial(moekit.carve, provenance=provenance, mean=MEAN, std=STD)


@pytest.fixture(scope="session")
def make_vit() -> Callable[..., VisionTransformer]:
    """Makes a small timm model of random weights, 3 blocks of width 32; the same ones each time."""

    def make(**changes: Any) -> VisionTransformer:
        options: dict[str, Any] = {
            "img_size": 32,
            "patch_size": 8,
            "embed_dim": 32,
            "depth": 3,
            "num_heads": 2,
            "num_classes": 0,
            "dynamic_img_size": True,
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = VisionTransformer(**{**options, **changes}).eval()
            for parameter in model.parameters():
                torch.nn.init.normal_(parameter, std=0.2)
        return model

    return make


@pytest.fixture
def tiny_backbone(
    make_vit: Callable[..., VisionTransformer], carve: Callable[..., MoEBackbone]
) -> MoEBackbone:
    """A backbone of 3 blocks, width 32 and patches of 8 pixels; a new one for each test."""
    return carve(make_vit())


@pytest.fixture(autouse=True)
def _settings_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the user's settings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOEKIT_CONFIG_DIR", str(tmp_path_factory.mktemp("settings")))
        yield


class Outcome:
    """Exit code and output of one command."""

    def __init__(self, code: object, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture(name="moekit")
def _moekit(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Runs `moekit ARGUMENTS` in this process, as a person calls it, and returns its outcome."""

    def run(*arguments: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(stop.value.code, captured.out, captured.err)

    return run


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Writes a distribution with a plugin to a folder on the path, as pip would install it.

    Called as `install("some-name", metrics=("m",))`; returns the package's folder.
    `manifest` changes keys of the manifest, or is its whole text; `hooks` is the source of the
    module `PACKAGE.hooks`; `entry_points` is the whole text of that file.
    """
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)

    def write(
        distribution: str,
        *,
        metrics: tuple[str, ...] = (),
        manifest: Mapping[str, Any] | str | None = None,
        hooks: str | None = None,
        entry_points: str | None = None,
    ) -> Path:
        package = distribution.replace("-", "_")
        folder, info = site / package, site / f"{package}-1.0.dist-info"
        folder.mkdir()
        info.mkdir()
        (folder / "__init__.py").write_text("")
        (folder / "hooks.py").write_text(_metric_hooks(metrics) if hooks is None else hooks)
        if not isinstance(manifest, str):
            manifest = _toml({**_manifest(package, metrics), **(manifest or {})})
        (folder / "plugin.toml").write_text(manifest)
        named = f"[moekit.plugins]\n{package} = {package}:plugin.toml\n"
        (info / "entry_points.txt").write_text(named if entry_points is None else entry_points)
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n"
        )
        return folder

    yield write
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(site)):
            del sys.modules[name]


@pytest.fixture
def read_only() -> Iterator[Callable[[Path], None]]:
    """Makes a folder so that nobody can write into it, the superuser included."""
    closed: list[Path] = []
    superuser = os.geteuid() == 0

    def close(folder: Path) -> None:
        if superuser:
            done = subprocess.run(["chattr", "+i", str(folder)], check=False, capture_output=True)
            if done.returncode:
                pytest.skip("the superuser may write anywhere here")
        else:
            folder.chmod(0o500)
        closed.append(folder)

    yield close
    for folder in closed:
        if superuser:
            subprocess.run(["chattr", "-i", str(folder)], check=True)
        else:
            folder.chmod(0o700)


def _checksum(model: MoEBackbone) -> dict[str, float]:
    return {name: float(value.double().sum()) for name, value in model.state_dict().items()}


def _manifest(package: str, metrics: tuple[str, ...]) -> dict[str, Any]:
    return {
        "name": package.replace("_", "-"),
        "api": "1.0",
        "summary": "a plugin of the tests",
        "domain": "any",
        "hooks": f"{package}.hooks",
        "provides": {"metrics": list(metrics)},
    }


def _toml(manifest: Mapping[str, Any]) -> str:
    """Plain values first, tables after them; JSON's strings and lists are TOML's too."""
    plain = [f"{key} = {json.dumps(value)}" for key, value in manifest.items() if key in _PLAIN]
    rest = [(key, value) for key, value in manifest.items() if key not in _PLAIN]
    for key, value in rest:
        tables = value if isinstance(value, list) else [value]
        for table in tables:
            plain.append(f"[[{key}]]" if isinstance(value, list) else f"[{key}]")
            plain.extend(f"{name} = {json.dumps(inner)}" for name, inner in table.items())
    return "\n".join(plain) + "\n"


_PLAIN = ("name", "api", "summary", "domain", "hooks", "colour", "listens")


def _metric_hooks(metrics: tuple[str, ...]) -> str:
    return f"""
import moekit

@moekit.hookimpl
def moekit_metrics():
    return [
        moekit.MetricSpec(
            name=name, compute=lambda scores, labels, threshold: 0.5, higher_is_better=True,
            bounds=(0.0, 1.0), summary="one half", source="the tests",
        )
        for name in {metrics!r}
    ]
"""


@pytest.fixture(scope="session")
def processor_time():
    """Runs Python code in a process; its seconds of processor time, and the finished process.

    Other programs hardly change them. Not for code whose own processes outlive it.
    """

    def measure(code, *arguments):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done

    return measure
