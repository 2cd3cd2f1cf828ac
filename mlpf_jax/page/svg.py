"""Adapts Matplotlib's SVG for inlining in a page with other figures.

A page has one name space for the ids of all its figures, and its own fonts and colours. Ids are
therefore prefixed with the figure's name (unreferenced ids are removed), text uses the page's font,
and colours of the page's palette become CSS variables.
"""

import re
from collections.abc import Mapping
from xml.etree import ElementTree

_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_NUMBER = re.compile(r"-?\d+\.\d+")
_SPACES = re.compile(r" *([A-Za-z]) *| {2,}")
_HREF = "{http://www.w3.org/1999/xlink}href"
_DROPPED = {"metadata", "style"}
_ROUNDED = ("d", "x", "y", "transform")
_DIGITS, _DIGITS_OF_LONG, _LONG = 2, 1, 1000  # decimals of points; long series have fewer


def inline(
    text: str, *, name: str, title: str, description: str, variables: Mapping[str, str]
) -> str:
    """Returns the `svg` element for a page, with title and description for screen readers.

    `text` is what Matplotlib wrote; `variables` maps colours (`#rrggbb`) to CSS variables.
    """
    root = ElementTree.fromstring(text)
    used = _referenced(root)
    _simplify(root, used)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        _rewrite(element, name, used, variables)
    width, height = root.attrib["viewBox"].split()[2:]
    root.attrib = {
        "viewBox": f"0 0 {width} {height}",
        "role": "img",
        "aria-labelledby": f"{name}-title {name}-description",
        "class": "plot",
    }
    for place, (tag, content) in enumerate((("title", title), ("desc", description))):
        child = ElementTree.Element(
            tag, id=f"{name}-{'title' if tag == 'title' else 'description'}"
        )
        child.text = content
        root.insert(place, child)
    return ElementTree.tostring(root, encoding="unicode")


def _simplify(parent: ElementTree.Element, used: set[str]) -> None:
    """Drops metadata, style sheets and groups without visible content."""
    kept = []
    for child in parent:
        tag = child.tag.rpartition("}")[2]
        if tag in _DROPPED:
            continue
        _simplify(child, used)
        is_plain = tag == "g" and not child.attrib.keys() - {"id"} and child.get("id") not in used
        kept += list(child) if is_plain else [child]
    parent[:] = kept
    parent.tail = None
    if parent.text and not parent.text.strip():
        parent.text = None


def _referenced(root: ElementTree.Element) -> set[str]:
    found = set()
    for element in root.iter():
        for value in element.attrib.values():
            found |= set(_REFERENCE.findall(value))
        found.add(element.attrib.get(_HREF, "").removeprefix("#"))
    return found


def _rewrite(
    element: ElementTree.Element, name: str, used: set[str], variables: Mapping[str, str]
) -> None:
    old = element.attrib
    element.attrib = {}
    for key, value in old.items():
        if key == "id":
            if value in used:
                element.set("id", f"{name}-{value}")
        elif key == _HREF:
            element.set("href", f"#{name}-{value.removeprefix('#')}")
        elif key == "style":
            element.set("style", _style(value, variables))
        elif key == "transform" and value.startswith("rotate(-0 "):
            continue
        else:
            element.set(key, _REFERENCE.sub(rf"url(#{name}-\1)", _short(key, value)))


def _short(key: str, value: str) -> str:
    """Rounds coordinates and drops repeated L commands in paths."""
    if key not in _ROUNDED:
        return value
    digits = _DIGITS_OF_LONG if len(value) > _LONG else _DIGITS
    value = _NUMBER.sub(
        lambda found: f"{float(found[0]):.{digits}f}".rstrip("0").rstrip("."), value
    )
    if key != "d":
        return value
    tight = _SPACES.sub(lambda found: found[1] or " ", value.strip())
    return re.sub(
        r"(?<=L)([^A-Za-z]*)(?:L([^A-Za-z]*))+", lambda run: run[0].replace("L", " "), tight
    )


def _style(style: str, variables: Mapping[str, str]) -> str:
    """Removes the typeface, which the page sets, and keeps size and weight."""
    parts = [part for part in style.split("; ") if not part.startswith("font-family:")]
    style = "; ".join(parts)
    for colour, variable in variables.items():
        style = style.replace(colour, f"var(--{variable})")
    return style
