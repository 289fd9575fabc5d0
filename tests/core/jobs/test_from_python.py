"""The script of the page on Python runs as it stands, on small pictures."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[3] / "docs" / "PYTHON.md"
SMALL = 'recipe={"epochs": 2, "baseline_epochs": 2, "image_size": 56}'


def test_the_script_of_the_page_runs(two_class_folder, monkeypatch, capsys):
    home = two_class_folder.parent
    (home / "new_parts").mkdir()
    for path in (two_class_folder / "good").iterdir():
        (home / "new_parts" / path.name).write_bytes(path.read_bytes())
    monkeypatch.chdir(home)
    first, *rest = re.findall(r"```py\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(rest) == 2
    names = {}
    for script in (first.replace('recipe={"epochs": 2}', SMALL), *rest):
        exec(script, names)
    told = capsys.readouterr().out.splitlines()
    rows = names["scored"]["predictions"]
    assert [line.split()[0] for line in told[1:-2]] == [row["file"] for row in rows]
    assert len(rows) == 20
    assert told[-2].startswith(f"{names['answers']['parts'][0].verdict} {{")
    assert told[-1].startswith("data/")
