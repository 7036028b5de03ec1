"""What the catalogue knows of one object of Objaverse 1.0."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import PurePosixPath
from typing import Any, Final

from .licenses import License, credit_line, license_of
from .text import clean, without_markup

__all__ = ["CatalogueEntry", "description_of"]

_MAX_INT: Final = 1 << 53
# Wide enough for a list; the smallest one that is.
_THUMBNAIL_WIDTH: Final = 256


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """An object, from Sketchfab's record of it. Texts have nothing in them that a terminal obeys.

    Attributes:
        license_text: The record's own word, such as ``by``; empty where it has none.
        author: Name to show; the user name where there is no other.
        faces: As Sketchfab counts them; this and the other counts are ``None`` where unknown.
        animations: Number of animations.
        textures: Number of textures in the GLB.
        size: Bytes of the GLB.
        published: ``YYYY-MM-DD``, or empty.
        age_restricted: Whether Sketchfab shows it to adults only.
        thumbnail: Address of a picture about 256 pixels wide, or empty.
        shard: Name of the annotation file it stands in.
        lvis: LVIS categories; most objects have none.
    """

    uid: str
    shard: str
    name: str
    license_text: str
    author: str
    username: str
    author_url: str
    faces: int | None
    vertices: int | None
    animations: int | None
    textures: int | None
    size: int | None
    likes: int
    views: int
    published: str
    age_restricted: bool
    thumbnail: str
    tags: tuple[str, ...]
    categories: tuple[str, ...]
    lvis: tuple[str, ...]

    @classmethod
    def from_record(
        cls, uid: str, record: dict[str, Any], shard: str, lvis: tuple[str, ...] = ()
    ) -> CatalogueEntry:
        """From an annotation, which may be of any form: what makes no sense is left out."""
        user = _mapping(record.get("user"))
        username = clean(user.get("username"), 100)
        glb = _mapping(_mapping(record.get("archives")).get("glb"))
        license = record.get("license")
        if isinstance(license, dict):
            # As Sketchfab's own interface has it.
            license = license.get("slug") or license.get("label")
        return cls(
            uid,
            shard,
            clean(record.get("name")),
            clean(license, 120),
            clean(user.get("displayName")) or username,
            username,
            _address(user.get("profileUrl")),
            _number(record.get("faceCount")),
            _number(record.get("vertexCount")),
            _number(record.get("animationCount")),
            _number(glb.get("textureCount")),
            _number(glb.get("size")),
            _number(record.get("likeCount")) or 0,
            _number(record.get("viewCount")) or 0,
            clean(record.get("publishedAt"), 40)[:10],
            record.get("isAgeRestricted") is True,
            _thumbnail(record),
            tuple(_names(record.get("tags"), 60)),
            tuple(_names(record.get("categories"), 20)),
            lvis,
        )

    @property
    def title(self) -> str:
        """Its name, or a word for having none."""
        return self.name or "Untitled"

    @property
    def license(self) -> License:
        """What its licence means."""
        return license_of(self.license_text)

    @property
    def url(self) -> str:
        """Its page; also its identifier in Objaverse-XL."""
        return f"https://sketchfab.com/3d-models/{self.uid}"

    @property
    def object_path(self) -> str:
        """Path of the GLB in the data set and in the cache."""
        folder = PurePosixPath(self.shard).name.partition(".")[0]
        return f"glbs/{folder}/{self.uid}.glb"

    @property
    def attribution(self) -> str:
        """The line of credit that its licence asks for."""
        return credit_line(self.title, self.author, self.url, self.license)

    def to_dict(self) -> dict[str, Any]:
        """Everything, for JSON."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        license = self.license
        return {
            **{name: list(v) if isinstance(v, tuple) else v for name, v in values.items()},
            "url": self.url,
            "license": license.key,
            "license_name": license.name,
            "license_url": license.url,
            "attribution": self.attribution,
        }

    def provenance(self) -> dict[str, Any]:
        """What goes into a dataset's ``metadata.json``, under that file's names."""
        license = self.license
        return {
            "file_identifier": self.url,
            "license": self.license_text or None,
            "metadata": {
                "uid": self.uid,
                "name": self.name,
                "author": self.author,
                "author_url": self.author_url,
                "source_url": self.url,
                "license_name": license.name,
                "license_url": license.url,
                "published": self.published,
                "age_restricted": self.age_restricted,
                "tags": list(self.tags),
                "categories": list(self.categories),
                "lvis": list(self.lvis),
            },
        }


def description_of(record: dict[str, Any], limit: int = 500) -> str:
    """The author's own words, as one line without markup."""
    return clean(without_markup(record.get("description")), limit)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _names(values: Any, limit: int) -> Iterator[str]:
    """Of Sketchfab's tags or categories."""
    for value in values[:limit] if isinstance(values, list) else ():
        # They are stored joined by these.
        name = clean(_mapping(value).get("name"), 60).replace(", ", " ")
        if name:
            yield name


def _number(value: Any) -> int | None:
    """A count; ``None`` where there is none that makes sense."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 <= value < _MAX_INT else None


def _address(value: Any) -> str:
    text = clean(value, 300)
    fine = text.startswith(("https://", "http://")) and not any(c in text for c in " <>\"'`")
    return text if fine else ""


def _thumbnail(record: dict[str, Any]) -> str:
    images = _mapping(record.get("thumbnails")).get("images")
    found = []
    for image in images[:20] if isinstance(images, list) else ():
        url = _address(_mapping(image).get("url"))
        if url:
            found.append((_number(_mapping(image).get("width")) or 0, url))
    wide = [pair for pair in found if pair[0] >= _THUMBNAIL_WIDTH]
    return min(wide)[1] if wide else max(found)[1] if found else ""
