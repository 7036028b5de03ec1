"""Licences of assets: what a catalogue's word for one means, and which are wanted."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from ..errors import InvalidJob
from .text import clean

__all__ = [
    "GROUPS",
    "LICENSES",
    "License",
    "LicenseFilter",
    "credit_line",
    "license_of",
    "parse_filter",
]


@dataclass(frozen=True, slots=True)
class License:
    """What one may do with an asset.

    Attributes:
        key: Short name, as in the Objaverse annotations: ``by``, ``by-nc-sa``, ``cc0``.
        name: For people.
        url: Its text.
        commercial: Whether it allows commercial use.
        derivatives: Whether it allows to share changed versions.
        share_alike: Whether changed versions have to be under the same licence.
        known: Whether we know it; an unknown one allows nothing that we could promise.
    """

    key: str
    name: str
    url: str = ""
    commercial: bool = True
    derivatives: bool = True
    share_alike: bool = False
    known: bool = True

    @property
    def cautions(self) -> list[str]:
        """What to look at before use, in words; empty for a free licence."""
        if not self.known:
            return ["unknown licence"]
        found = []
        if not self.commercial:
            found.append("no commercial use")
        if not self.derivatives:
            found.append("no derivatives")
        if self.share_alike:
            found.append("share alike")
        return found


def _cc(key: str, name: str) -> License:
    # Sketchfab and the data set's own page state version 4.0.
    parts = key.split("-")
    return License(
        key,
        f"Creative Commons {name} 4.0 International",
        f"https://creativecommons.org/licenses/{key}/4.0/",
        commercial="nc" not in parts,
        derivatives="nd" not in parts,
        share_alike="sa" in parts,
    )


_ZERO: Final = "https://creativecommons.org/publicdomain/zero/1.0/"
_SPDX: Final = "https://spdx.org/licenses/"
LICENSES: Final = {
    license.key: license
    for license in (
        _cc("by", "Attribution"),
        _cc("by-sa", "Attribution-ShareAlike"),
        _cc("by-nd", "Attribution-NoDerivatives"),
        _cc("by-nc", "Attribution-NonCommercial"),
        _cc("by-nc-sa", "Attribution-NonCommercial-ShareAlike"),
        _cc("by-nc-nd", "Attribution-NonCommercial-NoDerivatives"),
        License("cc0", "Creative Commons Zero 1.0 Universal", _ZERO),
        License("mit", "MIT License", f"{_SPDX}MIT.html"),
        License("apache-2.0", "Apache License 2.0", f"{_SPDX}Apache-2.0.html"),
        License("bsd-2-clause", "BSD 2-Clause License", f"{_SPDX}BSD-2-Clause.html"),
        License("bsd-3-clause", "BSD 3-Clause License", f"{_SPDX}BSD-3-Clause.html"),
        License("mpl-2.0", "Mozilla Public License 2.0", f"{_SPDX}MPL-2.0.html"),
        License("unlicense", "The Unlicense", f"{_SPDX}Unlicense.html"),
        License("gpl-2.0", "GNU General Public License 2.0", f"{_SPDX}GPL-2.0-only.html",
                share_alike=True),
        License("gpl-3.0", "GNU General Public License 3.0", f"{_SPDX}GPL-3.0-only.html",
                share_alike=True),
        License("lgpl-3.0", "GNU Lesser General Public License 3.0", f"{_SPDX}LGPL-3.0-only.html",
                share_alike=True),
        License("agpl-3.0", "GNU Affero General Public License 3.0", f"{_SPDX}AGPL-3.0-only.html",
                share_alike=True),
    )
}  # fmt: skip
"""Those of Objaverse 1.0, and the usual ones of Objaverse-XL's repositories."""

UNKNOWN: Final = "unknown"
GROUPS: Final = {
    "commercial": frozenset(k for k, license in LICENSES.items() if license.commercial),
    "free": frozenset(
        k for k, license in LICENSES.items() if license.commercial and license.derivatives
    ),
    UNKNOWN: frozenset({UNKNOWN}),
}
"""Names for several licences at once, for filters."""

_OTHER_NAMES: Final = {
    "cc-0": "cc0",
    "zero": "cc0",
    "cc0-1.0": "cc0",
    "cc-zero": "cc0",
    "public-domain-dedication": "cc0",
    "creative-commons-zero-v1.0-universal": "cc0",
    "creative-commons-public-domain-dedication": "cc0",
    "apache": "apache-2.0",
    "apache-license-2.0": "apache-2.0",
    "mit-license": "mit",
    "the-unlicense": "unlicense",
    "mozilla-public-license-2.0": "mpl-2.0",
}
_WORDS: Final = {
    "attribution": "by",
    "noncommercial": "nc",
    "non-commercial": "nc",
    "sharealike": "sa",
    "share-alike": "sa",
    "noderivatives": "nd",
    "noderivs": "nd",
    "no-derivatives": "nd",
    "no-derivs": "nd",
}
_GNU: Final = re.compile(
    r"(?:gnu-)?(?P<kind>a|l|affero-|lesser-)?(?:gpl|general-public-license)-v?(?P<version>[23])"
    r"(?:\.0)?(?:-only|-or-later)?"
)
_BSD: Final = re.compile(r'bsd-(?P<clauses>[23])-clause.*')


def license_of(text: Any) -> License:
    """The licence that a catalogue's word means, however it is spelt.

    It knows Objaverse's short names (``by``), names with a version (``CC-BY-4.0``), those
    of Thingiverse (``Creative Commons - Attribution - Share Alike``), addresses of Creative
    Commons, SPDX names and GitHub's titles. Anything else is unknown, with its own words as the
    name.
    """
    words = clean(text, 120)
    key = _key(words)
    if key in LICENSES:
        license = LICENSES[key]
        version = re.search(r"(?:^|[\s/v-])([123]\.[05])(?:$|[\s/])", words.strip())
        if key.startswith("by") and version is not None:
            # Older versions ask for the same things in other words, under another address.
            number = version[1]
            license = replace(
                license,
                name=license.name.replace("4.0 International", number),
                url=license.url.replace("4.0", number),
            )
        return license
    return License(
        UNKNOWN,
        words or "not stated",
        commercial=False,
        derivatives=False,
        known=False,
    )


def _key(words: str) -> str:
    text = re.sub(r"^https?://(?:www\.)?creativecommons\.org/(?:licenses|publicdomain)/", "cc ",
                  words.lower().strip())  # fmt: skip
    # Any run of punctuation and spaces is one hyphen, but the points of versions stay.
    text = re.sub(r"[^a-z0-9.]+", "-", text).strip("-.")
    text = _OTHER_NAMES.get(text, text)
    if text in LICENSES:
        return text
    if (gnu := _GNU.fullmatch(text)) is not None:
        kind = {"affero-": "a", "lesser-": "l"}.get(gnu["kind"] or "", gnu["kind"] or "")
        return f"{kind}gpl-{gnu['version']}.0"
    if (bsd := _BSD.fullmatch(text)) is not None:
        return f"bsd-{bsd['clauses']}-clause"
    return _creative_commons(text)


def _creative_commons(text: str) -> str:
    text = re.sub(r"^(?:creative-commons|cc)(?:-|$)", "", text)
    text = re.sub(r"-(?:international|unported|generic|universal)$", "", text)
    text = re.sub(r"-v?\d\.\d$", "", text)
    for word, short in _WORDS.items():
        text = re.sub(rf"(?:^|(?<=-)){word}(?=-|$)", short, text)
    text = _OTHER_NAMES.get(text, text)
    parts = [part for part in text.split("-") if part]
    ordered = [part for part in ("by", "nc", "sa", "nd") if part in parts]
    return "-".join(ordered) if sorted(ordered) == sorted(parts) else text


def credit_line(title: str, author: str, source: str, license: License) -> str:
    """Title, author, source and licence, as Creative Commons recommends to give credit."""
    line = f"“{title}”"
    if source:
        line += f" ({source})"
    line += f" by {author or 'an unknown author'}"
    if not license.known:
        return f"{line}, licence unknown ({license.name})"
    line += f", licensed under {license.name}"
    return f"{line} ({license.url})" if license.url else line


@dataclass(frozen=True, slots=True)
class LicenseFilter:
    """Which licences are wanted; made by :func:`parse_filter`."""

    keys: frozenset[str]

    def allows(self, text: Any) -> bool:
        """Whether an asset with this licence, as its catalogue words it, is wanted."""
        return license_of(text).key in self.keys


def parse_filter(wanted: str | Iterable[str]) -> LicenseFilter:
    """A filter from names like ``by,cc0``, and of groups: ``commercial``, ``free``, ``unknown``.

    Raises:
        InvalidJob: A name is none of these.
    """
    names = wanted.split(",") if isinstance(wanted, str) else list(wanted)
    keys: set[str] = set()
    for name in filter(None, (name.strip().lower() for name in names)):
        if name in GROUPS:
            keys |= GROUPS[name]
            continue
        key = _key(name)
        if key not in LICENSES:
            raise InvalidJob(
                f"There is no licence {clean(name)!r}.",
                hint=f"Known are {', '.join([*LICENSES, *GROUPS])}.",
            )
        keys.add(key)
    if not keys:
        raise InvalidJob("No licence is named.", hint=f"Known are {', '.join(LICENSES)}.")
    return LicenseFilter(frozenset(keys))
