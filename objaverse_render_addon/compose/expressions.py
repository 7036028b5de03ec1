"""``expressions.json``: what is said of a scene, beside what is in it."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..cameras import draw
from .choose import Expression, Quotas, expressions_of
from .facts import facts_of
from .forms import Phrase
from .margins import Margins
from .places import Place, floor_of, places_of, record_of
from .record import FILE, Scene
from .relations import Relations
from .rules import DEFAULT_LANGUAGES
from .words import STYLES, Luck, realise

if TYPE_CHECKING:
    from ..dataset.reader import AssetReader

__all__ = ["EXPRESSIONS", "VERSION", "expressions_for", "write"]

EXPRESSIONS: Final = "expressions.json"
VERSION: Final = 1


def write(
    folder: str | Path, quotas: Quotas | None = None, margins: Margins | None = None,
    languages: tuple[str, ...] = DEFAULT_LANGUAGES,
) -> dict[str, Any]:  # fmt: skip
    """Write :data:`EXPRESSIONS` into a scene's unit, from what is in it.

    Returns:
        What was written.

    Raises:
        WrongFormat: ``scene.json`` is none.
        RenderError: The unit's arrays cannot be read.
    """
    from ..dataset.reader import AssetReader

    folder = Path(folder)
    scene = Scene.read(folder / FILE)
    with AssetReader(folder) as asset:
        data = expressions_for(scene, asset, quotas, margins, languages)
    text = json.dumps(data, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    (folder / EXPRESSIONS).write_text(text + "\n", encoding="utf-8")
    return data


def expressions_for(
    scene: Scene, asset: AssetReader, quotas: Quotas | None = None,
    margins: Margins | None = None, languages: tuple[str, ...] = DEFAULT_LANGUAGES,
) -> dict[str, Any]:  # fmt: skip
    """What :func:`write` writes; a function of the unit's files, the seed and the settings."""
    quotas, margins = quotas or Quotas(), margins or Margins()
    name = f"scene-{scene.index}"
    said: list[dict[str, Any]] = []
    free: list[dict[str, Any]] = []
    for view in range(len(scene.views)):
        rel = Relations(facts_of(scene, view, asset, margins), margins)
        for place, one in enumerate(expressions_of(rel, scene.seed, name, quotas)):
            said.append(_record(one, scene.seed, name, place, languages))
        for number, spot in enumerate(_places(rel, scene, view, asset, name, quotas)):
            stream = f"place-words-{view}"
            free.append(record_of(spot, _texts(
                spot.form, scene.seed, name, stream, number, languages)))  # fmt: skip
    told = Counter(text["language"] for one in said for text in one["texts"])
    return {
        "version": VERSION, "margins": margins.to_dict(),
        "quotas": {"per_view": quotas.per_view, "types": dict(quotas.types),
                   "kinds": list(quotas.kinds), "minimal": quotas.minimal,
                   "twins": quotas.twins, "places": quotas.places, "swaps": quotas.swaps},
        "unsaid": {language: len(said) - told[language] // len(STYLES) for language in languages},
        "expressions": said, "places": free,
    }  # fmt: skip


def _record(
    one: Expression, seed: int, scene: str, place: int, languages: tuple[str, ...]
) -> dict[str, Any]:
    texts = _texts(one.form, seed, scene, f"words-{one.view}", place, languages)
    return {
        "id": one.id, "view": one.view, "kind": one.kind, "type": one.type,
        "form": one.form.to_list(), "targets": list(one.targets),
        "references": list(one.references), "margin": one.margin, "needed": dict(one.needed),
        "minimal": one.minimal, "same_noun": one.same_noun, "candidates": one.candidates,
        "edit": one.edit, "pair": one.pair, "texts": texts,
    }  # fmt: skip


def _texts(
    form: Phrase, seed: int, scene: str, stream: str, place: int, languages: tuple[str, ...]
) -> list[dict[str, Any]]:
    texts = []
    for language in languages:
        for style in STYLES:
            luck = Luck(draw(seed, scene, f"{stream}-{language}-{style}", place, 24).tolist())
            text = realise(form, language, style, luck)
            if text is not None:
                texts.append({"language": language, "style": style, **text.to_dict()})
    return texts


def _places(
    rel: Relations, scene: Scene, view: int, asset: AssetReader, name: str, quotas: Quotas
) -> list[Place]:
    if not quotas.places:
        return []
    place = scene.views[view].view
    arrays = asset.read(place, ("depth", "instance_index"))
    floor = floor_of(rel, asset.view(place).camera, arrays["depth"], arrays["instance_index"])
    return places_of(rel, floor, scene.seed, name, quotas.places)
