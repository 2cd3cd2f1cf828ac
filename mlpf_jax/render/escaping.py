"""Escapes text from files for display. Result files are treated as untrusted input."""

import re
import unicodedata

_LONGEST, _CUT = 2000, " ..."
_ESCAPE_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f]).*?(?:\x07|\x1b\\|\x9c|$)"  # OSC and others: titles
    r"|\x1b[ -/]*[0-~]",
    re.DOTALL,
)
# Cc: control; Cf: invisible, or changes the writing direction; Cs: surrogate.
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_MARKDOWN = {ord(sign): f"\\{sign}" for sign in "\\`*_{}[]()#|~!$"} | {
    ord("<"): "&lt;",
    ord(">"): "&gt;",
    ord("&"): "&amp;",
}
_FORMULA = ("=", "+", "-", "@")


def clean(text: str) -> str:
    """Returns one line of visible characters, without escape sequences.

    A text that is too long is cut, and ends in " ...".
    """
    if len(text) > _LONGEST:
        return clean(text[: _LONGEST - len(_CUT)]) + _CUT
    signs = _ESCAPE_SEQUENCE.sub("", text)
    kept = ((sign, unicodedata.category(sign) in _UNSEEN) for sign in signs)
    return "".join(" " if sign.isspace() else "" if unseen else sign for sign, unseen in kept)


def markdown(text: str) -> str:
    """Escapes text for Markdown, so that it has no markup, HTML, links or mentions.

    A zero-width space prevents GitHub from treating `@name` as a mention and `https://` as a link.
    """
    return re.sub("(@|://|www(?=[.]))", "\\1\u200b", clean(text).translate(_MARKDOWN))


def csv_cell(text: str) -> str:
    """Prefixes text with an apostrophe if a spreadsheet would treat it as a formula."""
    safe = clean(text)
    return f"'{safe}" if safe.lstrip().startswith(_FORMULA) else safe
