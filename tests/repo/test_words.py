"""Texts are plain technical English: a list of words that must not come back."""

import io
import re
import tokenize

import pytest

BANNED = {
    "beside": "next to",
    "anew": "again",
    "in vain": "without success",
    "is told": "is reported",
    "are told": "are reported",
    "was told": "was reported",
    "were told": "were reported",
    "so many": "that number of",
    "thereof": "of it",
    "whence": "from which",
    "wherein": "in which",
    "hitherto": "so far",
    "shall": "must",
    "where None": "if None",
    "None where": "None if",
    "images alone": "images only",
    "negatives alone": "negatives only",
    "where there is no": "if there is no",
    "where there are": "if there are",
    "where there is one": "if there is one",
    "or None where": "or None if",
    "empty where": "empty if",
    "unknown where": "unknown if",
    "nan where": "nan if",
    "zero where": "zero if",
    "skipped where": "skipped if",
    "refused where": "refused if",
    "noted where": "noted if",
    "where known": "if known",
    "where present": "if present",
    "where nobody": "if nobody",
    "where nothing": "if nothing",
    "where both": "if both",
    "where one of": "if one of",
    "where a GPU": "if a GPU",
    "where the data bring": "if the data bring",
    "where needed": "if needed",
    "where possible": "if possible",
    "where applicable": "if it applies",
}
FOUND = re.compile(rf"\b({'|'.join(BANNED)})\b(?! apart)", re.IGNORECASE)
CODE = re.compile(r"`[^`]*`")


def prose(path):
    """The lines of a file that people read, with their numbers: of code comments and strings."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        yield from enumerate(text.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING) and " " in token.string:
            for offset, line in enumerate(token.string.splitlines()):
                yield token.start[0] + offset, line


@pytest.mark.parametrize("folder", ["core", "domain_kits", "plugins", "docs", "examples", "."])
def test_no_text_holds_a_word_of_the_list(root, folder):
    paths = (root / folder).glob("*.md") if folder == "." else (root / folder).rglob("*")
    found = []
    for path in paths:
        if path.suffix not in (".py", ".md", ".j2", ".toml") or not path.is_file():
            continue
        for number, line in prose(path):
            for word in FOUND.findall(CODE.sub("", line)):
                better = BANNED.get(word.lower(), BANNED.get(word))
                found.append(f"{path.relative_to(root)}:{number}: {word!r}, use {better!r}")
    assert not found, "\n".join(found)


def test_a_word_of_the_list_is_seen(tmp_path):
    source = tmp_path / "a.py"
    source.write_text(
        'beside = 1  # lies beside it\nNAME = "beside"\nf"""It shall\nbe in vain"""\n'
    )
    words = [word for _, line in prose(source) for word in FOUND.findall(line)]
    assert words == ["beside", "shall", "in vain"]
