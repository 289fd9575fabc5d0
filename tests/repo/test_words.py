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


_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"`[^`]*`")
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_ITEM = re.compile(r"^\s*(?:[-*]|\d+\.)\s+")
_END = re.compile(r"(?<=[.!?])[)\"*]*\s+(?=[A-Z*(\"0-9])|(?<=:)\s*$")


def paragraphs(text):
    """Paragraphs and items of lists; no code, headings, tables or figures."""
    block = []
    for line in [*_FENCE.sub("", text).splitlines(), ""]:
        skipped = line.lstrip().startswith(("#", "|", "<", ":::"))
        if not line.strip() or skipped or _ITEM.match(line):
            if block:
                yield " ".join(block)
            block = []
        if line.strip() and not skipped:
            block.append(_ITEM.sub("", line).strip())


def sentences(text):
    """Sentences of a page; code in backticks is one word."""
    for paragraph in paragraphs(text):
        plain = _LINK.sub(r"\1", _CODE.sub("Code", paragraph))
        for sentence in _END.split(plain):
            yield sentence.strip()


def words(sentence):
    """How many words a sentence has."""
    return len([word for word in sentence.split() if re.search(r"\w", word)])


PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/*.md", "domain_kits/industrial/*.md")
LONGEST = 30
"""Words of a sentence. The style asks for 25; enumerations may take a few more."""


@pytest.mark.parametrize("pages", PAGES)
def test_no_sentence_of_a_page_is_long(root, pages):
    long = [
        f"{path.relative_to(root)}: {words(sentence)} words: {sentence}"
        for path in sorted(root.glob(pages))
        for sentence in sentences(path.read_text(encoding="utf-8"))
        if words(sentence) > LONGEST
    ]
    assert not long, "\n".join(long)


def test_sentences_are_counted_without_code_tables_and_headings():
    page = "# A head\n\nOne `two three` four. Five\nsix.\n\n- Seven: [eight](x.md)\n\n| no | no |\n"
    assert [words(one) for one in sentences(page)] == [3, 2, 2]
