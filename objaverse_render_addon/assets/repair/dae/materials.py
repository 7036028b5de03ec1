"""Materials of a COLLADA document."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import unquote

import numpy as np

from ..model import Material, beside
from .document import Document, Element, link, number, numbers
from .geometry import Primitive

__all__ = ["Materials"]

_LUMINANCE: Final = np.array([0.212671, 0.715160, 0.072169])
"""The specification's, of linear Rec. 709."""


class Materials:
    """All of a document's, each read once."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._known: dict[tuple[str, bool], Material] = {}

    def of(self, name: str, primitive: Primitive) -> Material | None:
        """That of a run of polygons, by its id; ``None`` where it has none, and no colors."""
        colors = primitive.data.get("COLOR")
        colored = colors is not None and bool((colors[:, :3] < 1).any())
        element = self._document.ids.get(name)
        if element is None:
            # A document may name the material itself, and not bind it.
            every = self._document.root.iter("material") if name else ()
            element = next((item for item in every if item.get("name") == name), None)
        if element is None:
            return Material("Vertex Colors", vertex_colors=True) if colored else None
        key = (element.get("id", name), colored)
        if key not in self._known:
            material = self._read_material(element)
            if colored:
                neutral = max(material.color) - min(material.color) < 1e-3
                material.vertex_colors = neutral and material.texture is None
            self._known[key] = material
        material = self._known[key]
        if colored and not material.vertex_colors:
            self._document.say(
                f"not-imported: vertex colors beside the material {material.name!r}, which has "
                "a color of its own."
            )
        return material

    def _read_material(self, element: Element) -> Material:
        name = element.get("name") or element.get("id") or "Material"
        material = Material(name, roughness=1.0)
        effect = self._document.ids.get(link(element.find("instance_effect")))
        if effect is None:
            return material
        shading = next(
            (item for item in effect.iter() if item.tag in ("phong", "blinn", "lambert",
                                                            "constant")), None,
        )  # fmt: skip
        if shading is None:
            return material
        diffuse = "emission" if shading.tag == "constant" else "diffuse"
        color, texture = self._color(shading.find(diffuse), effect)
        if color is not None:
            material.color = color[0], color[1], color[2]
        material.texture = texture
        color, texture = self._color(shading.find("emission"), effect)
        if color is not None:
            material.emission = color[0], color[1], color[2]
        material.emission_texture = texture
        shininess = number(shading.find("shininess"))
        if shininess is not None and shading.tag in ("phong", "blinn"):
            # Of the exponent, as trimesh has it (Karis, *Specular BRDF Reference*).
            material.roughness = float((2 / (max(shininess, 0) + 2)) ** 0.5)
        self._add_transparency(material, shading, effect)
        return material

    def _add_transparency(
        self, material: Material, shading: Element, effect: Element
    ) -> None:
        transparent = shading.find("transparent")
        share = number(shading.find("transparency"))
        if transparent is None:
            # Alone it is opacity; 0 is what exporters write who mean that there is none.
            material.alpha = float(np.clip(share, 0, 1)) if share else 1.0
            return
        factor = 1.0 if share is None else share
        mode = transparent.get("opaque", "A_ONE")
        color, texture = self._color(transparent, effect)
        inverted = mode.endswith("ZERO")
        if texture is not None:
            material.clear = "alpha" if mode.startswith("A") else "luminance"
            material.clear_texture = texture
            material.clear_inverted = inverted
            material.alpha = 1.0 if inverted else float(np.clip(factor, 0, 1))
            return
        if color is None:
            return
        rgb = np.array(color[:3])
        value = color[3] if mode.startswith("A") else float(rgb @ _LUMINANCE)
        value *= factor
        material.alpha = float(np.clip(1 - value if inverted else value, 0, 1))

    def _color(
        self, element: Element | None, effect: Element
    ) -> tuple[list[float] | None, Path | None]:
        if element is None:
            return None, None
        texture = element.find("texture")
        if texture is not None:
            return None, self._image(texture.get("texture", ""), effect)
        color = numbers(element.find("color")).tolist()
        return ([*color, 1.0][:4] if len(color) >= 3 else None), None

    def _image(self, name: str, effect: Element) -> Path:
        """The file of a texture: by its sampler and surface, or by the image's own name."""
        params = {item.get("sid"): item for item in effect.iter("newparam")}
        for _ in range(4):
            param = params.get(name)
            if param is None:
                break
            source = param.find("sampler2D/source")
            if source is None:
                source = param.find("surface/init_from")
            image = param.find("sampler2D/instance_image")
            name = link(image) if image is not None else (
                (source.text or "").strip() if source is not None else ""
            )
        image = self._document.ids.get(name.rpartition("#")[2])
        place = None
        if image is not None and image.tag == "image":
            place = image.find("init_from")
            if place is not None and place.find("ref") is not None:
                place = place.find("ref")
        text = (place.text or "").strip() if place is not None else name
        return _file(self._document.path.parent, text or "missing")


def _file(folder: Path, text: str) -> Path:
    # References are URIs, but exporters write paths, and paths with some of it quoted.
    if text.lower().startswith("file:"):
        text = text[5:].lstrip("/") if text[5:8] == "///" and text[9:10] == ":" else text[5:]
    plain = beside(folder, text)
    return plain if plain.is_file() else beside(folder, unquote(text))
