"""The wheels of `make dist`: they hold all files of their packages, and work where they are put."""

import json
import subprocess
import sys
import zipfile

import pytest

from moekit.testing.child import child_command, child_environment


@pytest.fixture(scope="module")
def wheels(root, tmp_path_factory):
    """The wheels of all distributions."""
    out = tmp_path_factory.mktemp("dist")
    folders = [root / "core", *sorted((root / "domain_kits").iterdir())]
    folders += [path.parent for path in sorted((root / "plugins").glob("*/pyproject.toml"))]
    sources = [str(folder) for folder in folders if (folder / "pyproject.toml").exists()]
    command = ["pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir"]
    subprocess.run([sys.executable, "-m", *command, str(out), *sources], check=True)
    found = sorted(out.glob("*.whl"))
    assert len(found) == len(sources)
    return found


def test_a_wheel_holds_all_files_of_its_package(root, wheels):
    held = set()
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            held |= {name for name in archive.namelist() if ".dist-info/" not in name}
    packages = [root / "core" / "moekit"]
    packages += [*(root / "domain_kits").glob("*/moekit_*"), *(root / "plugins").glob("*/moekit_*")]
    tracked = {
        path.relative_to(package.parent).as_posix()
        for package in packages
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert tracked <= held


def test_installed_wheels_are_the_plugins_that_a_command_finds(wheels, tmp_path):
    target = tmp_path / "site"
    install = ["pip", "install", "--quiet", "--no-deps", "--target", str(target)]
    subprocess.run([sys.executable, "-m", *install, *map(str, wheels)], check=True)
    environment = {**child_environment(), "PYTHONPATH": str(target)}
    code = (
        "import moekit, sys\n"
        "from moekit.cli.main import main\n"
        "print(moekit.__file__, file=sys.stderr)\n"
        "main(['plugins', 'list', '--json'])\n"
    )
    done = subprocess.run(
        child_command("-c", code), env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert str(target) in done.stderr
    states = {one["distribution"]: one["state"] for one in json.loads(done.stdout)["plugins"]}
    assert len(states) >= len(wheels)
    idle = {name: state for name, state in states.items() if state != "active"}
    # Ray is large, so whoever wants its plugin installs it.
    assert idle in ({}, {"moekit-ray-serve": "missing-deps"})
