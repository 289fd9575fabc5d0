"""What users see of broken plugins, kind by kind: the page for it holds exactly that.

`MOEKIT_WRITE_PAGES=1 python -m pytest tests/core/plugins/test_broken_page.py` writes it again.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from moekit import PluginError, Registry
from moekit.plugins.discovery import State, discover

PAGE = Path(__file__).parents[3] / "plugins" / "BROKEN.md"
HEAD = """# What users see of a broken plugin

Twelve ways of being broken. In each, every other plugin and every command goes on working;
`moekit --strict` turns the first six into a failure for continuous integration. The table is
written by a test (`tests/core/plugins/test_broken_page.py`), which installs each of these plugins
as `faulty` and asks for what it promises.

| what is wrong | state | imported | what the user reads |
| --- | --- | --- | --- |
"""
METRIC = """
import moekit, sys

def metric(name):
    return moekit.MetricSpec(
        name=name, compute=lambda s, y, t: 0.5, higher_is_better=True, bounds=(0.0, 1.0),
        summary="-", source="-")

@moekit.hookimpl
def moekit_metrics():
    BODY
"""


def hooks(body):
    return {"hooks": METRIC.replace("BODY", body)}


KINDS = {
    "the manifest is no TOML": {"manifest": "name = "},
    "the manifest has an unknown key": {"manifest": {"colour": "red"}},
    "it is made for a newer contract": {"manifest": {"api": "2.1"}},
    "a module that it needs is missing": {
        "manifest": {"requires": [{"module": "no_such_module", "install": "pip install it"}]}
    },
    "it registers a name twice": {
        "entry_points": "[moekit.plugins]\na = faulty:plugin.toml\nb = faulty:plugin.toml\n"
    },
    "the manifest is not in the package": {
        "entry_points": "[moekit.plugins]\na = faulty:gone.toml\n"
    },
    "the import raises": {"hooks": "raise ValueError('no luck')"},
    "the import exits": {"hooks": "import sys\nsys.exit(3)"},
    "the import recurses for ever": {"hooks": "def f(): f()\nf()"},
    "a hook is misspelt": {
        "hooks": METRIC.replace("BODY", "return []").replace("moekit_metrics", "moekit_metrix")
    },
    "a hook returns rubbish": hooks("return ['one']"),
    "it provides other than it declares": hooks("return [metric('two')]"),
}


def test_the_page_says_what_users_see(install, tmp_path):
    install("sound", metrics=("sound",))
    rows = [row(kind, options, install, tmp_path) for kind, options in KINDS.items()]
    page = HEAD + "\n".join(rows) + "\n"
    if os.environ.get("MOEKIT_WRITE_PAGES"):
        PAGE.write_text(page, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == page
    assert len(rows) == 12


def row(kind, options, install, tmp_path):
    folder = install("faulty", **{"metrics": ("one",), **options})
    try:
        (state, seen), imported = look(), "faulty.hooks" in sys.modules or "import" in kind
        registry = Registry()
        assert registry.metric("sound").name == "sound", kind
        assert {p.distribution for p in discover()} >= {"moekit", "sound", "faulty"}
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "faulty"]:
            del sys.modules[name]
        for part in (folder, folder.parent / "faulty-1.0.dist-info"):
            for path in sorted(part.rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()
            part.rmdir()
    text = " ".join(seen.split()).replace(str(tmp_path), "").replace("|", "\\|")
    return f"| {kind} | {state.value} | {'yes' if imported else 'no'} | {text} |"


def look():
    """The state of the plugin, and the words that come with it."""
    registry = Registry()
    faulty = [plugin for plugin in registry.plugins if plugin.distribution == "faulty"]
    if faulty[0].state is not State.ACTIVE:
        return faulty[0].state, faulty[0].reason
    try:
        registry.metric("faulty/one")
    except PluginError as error:
        return faulty[0].state, error.what
    raise AssertionError("nothing was found to be wrong")
