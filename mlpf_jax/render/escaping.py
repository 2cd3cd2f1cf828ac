"""Text from files made harmless for where it is shown. Nothing in a result file is trusted."""

import re
import unicodedata

_LONGEST = 2000
_ESCAPE_SEQUENCE = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f]).*?(?:\x07|\x1b\\|\x9c|$)"  # OSC and others: titles
    r"|\x1b[ -/]*[0-~]",
    re.DOTALL,
)
# Cc: control; Cf: turns the direction of writing, or is not seen; Cs: half a character.
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_MARKDOWN = {ord(sign): f"\\{sign}" for sign in "\\`*_{}[]()#|~!$"} | {
    ord("<"): "&lt;",
    ord(">"): "&gt;",
    ord("&"): "&amp;",
}
_FORMULA = ("=", "+", "-", "@")


def clean(text: str) -> str:
    """Returns one line of visible characters: no escape sequence, no control, not endless."""
    signs = _ESCAPE_SEQUENCE.sub("", text[:_LONGEST])
    kept = ((sign, unicodedata.category(sign) in _UNSEEN) for sign in signs)
    return "".join(" " if sign.isspace() else "" if unseen else sign for sign, unseen in kept)


def markdown(text: str) -> str:
    """Returns text that Markdown shows as it is: no markup, no HTML, no link, nobody addressed.

    A space of no width after the sign keeps GitHub from taking `@name` for a person and
    `https://` for a link.
    """
    return re.sub("(@|://|www(?=[.]))", "\\1\u200b", clean(text).translate(_MARKDOWN))


def csv_cell(text: str) -> str:
    """Returns text that no spreadsheet takes for a formula: an apostrophe goes before it."""
    safe = clean(text)
    return f"'{safe}" if safe.lstrip().startswith(_FORMULA) else safe
