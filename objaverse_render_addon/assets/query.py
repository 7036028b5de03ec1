"""What a search looks for, and how a person's words become a full-text expression."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Any, Final, Literal

from ..errors import InvalidJob
from .catalogue_index import spaced
from .entry import CatalogueEntry
from .licenses import LicenseFilter
from .text import clean

__all__ = ["Query", "SearchResult", "Sort", "conditions", "facet", "terms"]

Sort = Literal["relevance", "likes", "views", "newest", "faces"]
_MAX_WORDS: Final = 32
_TERM: Final = re.compile(r'(-?)(?:"([^"]*)"?|(\S+))')


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for. Whatever is ``None`` does not matter.

    Attributes:
        text: Words that all have to be in name, tags, categories or description; ``"two words"``
            side by side, ``-word`` that must not be there, ``begin*``. English endings do not
            matter: ``chairs`` finds ``chair``.
        author: Words of the author's name or user name.
        lvis: LVIS categories, any of which will do, as :meth:`Catalogue.lvis_categories` spells
            them; case, spaces and underscores do not matter.
        min_faces: At least so many faces; an object whose number is not known is left out then.
        max_faces: At most so many.
        max_bytes: Size of the GLB.
        animated: Whether there are animations.
        textured: Whether there are textures.
        age_restricted: Objects for adults: ``False`` leaves them out, ``True`` wants them alone.
        sort: ``relevance`` has matches in the name first, then in tags and categories, then in
            the description, and the most liked ones first among these. ``faces`` has the fewest
            first.
        limit: At most so many.
        sample: So many of all matches, drawn by chance, instead of the first ones.
        seed: Of that draw: the same seed and the same matches give the same sample, and a larger
            one has the smaller one in it.
    """

    text: str = ""
    author: str = ""
    licenses: LicenseFilter | None = None
    lvis: tuple[str, ...] = ()
    min_faces: int | None = None
    max_faces: int | None = None
    max_bytes: int | None = None
    animated: bool | None = None
    textured: bool | None = None
    age_restricted: bool | None = False
    sort: Sort = "relevance"
    limit: int = 50
    sample: int | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found.

    Attributes:
        total: Number of all matches, of which ``entries`` may be the first ones; ``None`` where
            it was not asked for.
    """

    entries: list[CatalogueEntry]
    total: int | None


def conditions(query: Query) -> tuple[str, list[Any]]:
    """What is no word: limits of numbers."""
    limits = [
        ("assets.faces >=", query.min_faces),
        ("assets.faces <=", query.max_faces),
        ("assets.size <=", query.max_bytes),
    ]
    given = [(text, value) for text, value in limits if value is not None]
    return "".join(f" AND {text} ?" for text, _ in given), [value for _, value in given]


def facet(*words: str) -> str:
    """Any of these words among the facets; of none, what no object has."""
    return f"facets : ({' OR '.join(words or ('x0',))})"


def terms(text: str) -> list[tuple[str, bool]]:
    """A person's words as full-text phrases, and whether they must not be there.

    Everything is quoted: nothing that a person types is full-text syntax.

    Raises:
        InvalidJob: There is text, but no word in it.
    """
    found = []
    for match in itertools.islice(_TERM.finditer(text[:2000]), _MAX_WORDS):
        minus, phrase, word = match.groups()
        words = phrase if phrase is not None else word
        # The index has letters of unspaced scripts one by one; a phrase puts them together again.
        spread = spaced(clean(words, 100)).replace('"', " ")
        if any(char.isalnum() for char in spread):
            star = "*" if word and word.endswith("*") else ""
            found.append((f'"{spread}"{star}', bool(minus)))
    if text.strip() and not found:
        raise InvalidJob(f"There is no word in {clean(text)!r}.")
    return found
