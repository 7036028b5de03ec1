"""Annotations of objects that do not exist, in the form and about the size of the real ones."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from objaverse_render_addon.assets.annotations import LVIS, SHARDS


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


ADJECTIVES = _words(
    "old wooden red blue small large modern rusty broken golden medieval low-poly stylized office "
    "garden kitchen space toy simple realistic scanned damaged tiny heavy dark ancient"
)
NOUNS = _words(
    "chair table lamp car house tree rock sword shield robot dragon skull helmet rifle barrel "
    "crate boat plane bottle cup statue temple bridge cat dog horse spaceship engine guitar piano "
    "clock camera shoe bag flower mushroom pumpkin castle tower wheel"
)
CATEGORIES = (
    "Animals & Pets", "Architecture", "Cars & Vehicles", "Characters & Creatures",
    "Cultural Heritage & History", "Electronics & Gadgets", "Furniture & Home",
    "Weapons & Military",
)  # fmt: skip
# About as Objaverse has them: most ask for attribution alone.
LICENSES = ("by",) * 88 + ("by-nc-sa",) * 6 + ("by-nc",) * 3 + ("by-sa",) * 2 + ("cc0",)
# For a vocabulary with a long tail, as names that people give have.
SYLLABLES = _words("ka ro mi tan del fu sor lin ve qua ster bor ne pi lo ju dra zen wis hal")


def uid(number: int, seed: int = 0) -> str:
    """Always the same for a number."""
    return f"{random.Random(f'{seed}-{number}').getrandbits(128):032x}"


def rare_word(draw: random.Random) -> str:
    return "".join(draw.choice(SYLLABLES) for _ in range(draw.randint(2, 4)))


def annotation(number: int, seed: int = 0, **changes: Any) -> dict[str, Any]:
    """A record of about 4 kB, as Sketchfab's."""
    draw = random.Random(f"{seed}/{number}")
    key = uid(number, seed)
    words = [draw.choice(ADJECTIVES), draw.choice(NOUNS)]
    if draw.random() < 0.5:
        words.append(rare_word(draw))
    tags = draw.sample([*ADJECTIVES, *NOUNS, rare_word(draw), words[1]], draw.randint(0, 9))
    user = draw.randint(1, 100_000)
    faces = int(10 ** draw.uniform(1, 6.3))
    likes = int(draw.paretovariate(0.9)) - 1
    media = f"https://media.sketchfab.com/models/{key}/thumbnails/{draw.getrandbits(128):032x}"
    sizes = ((1920, 1080), (1024, 576), (720, 405), (256, 144), (64, 36))
    avatar = f"https://media.sketchfab.com/avatars/{user:032x}"
    record = {
        "uri": f"https://api.sketchfab.com/v3/models/{key}",
        "uid": key,
        "name": " ".join(words).title(),
        "staffpickedAt": None,
        "viewCount": likes * draw.randint(5, 80) + draw.randint(0, 50),
        "likeCount": likes,
        "animationCount": draw.choice((0,) * 18 + (1, 4)),
        "viewerUrl": f"https://sketchfab.com/3d-models/{key}",
        "embedUrl": f"https://sketchfab.com/models/{key}/embed",
        "commentCount": 0,
        "isDownloadable": True,
        "publishedAt": f"20{draw.randint(14, 22)}-{draw.randint(1, 12):02d}-1{draw.randint(0, 9)}"
        "T09:36:25.430631",
        "tags": [
            {"name": tag, "slug": tag, "uri": f"https://api.sketchfab.com/v3/tags/{tag}"}
            for tag in tags
        ],
        "categories": [
            {"name": name, "slug": name.lower(), "uri": "https://api.sketchfab.com/v3/categories/x"}
            for name in draw.sample(CATEGORIES, draw.choice((0, 1, 1, 2)))
        ],
        "thumbnails": {
            "images": [
                {
                    "uid": f"{draw.getrandbits(128):032x}", "size": width * 20, "width": width,
                    "height": height, "url": f"{media}/{draw.getrandbits(128):032x}.jpeg",
                }
                for width, height in sizes
            ]
        },
        "user": {
            "uid": f"{user:032x}",
            "username": f"maker{user}",
            "displayName": f"Maker {user}",
            "profileUrl": f"https://sketchfab.com/maker{user}",
            "account": "basic",
            "avatar": {
                "uri": avatar,
                "images": [
                    {"size": 99, "width": w, "height": w, "url": f"{avatar}/{w:032x}.jpeg"}
                    for w in (32, 48, 90, 100)
                ],
            },
            "uri": f"https://api.sketchfab.com/v3/users/{user:032x}",
        },
        "description": " ".join(
            draw.choice((draw.choice(ADJECTIVES), draw.choice(NOUNS), rare_word(draw)))
            for _ in range(int(draw.expovariate(1 / 25)))
        ),
        "faceCount": faces,
        "createdAt": "2021-03-18T09:31:52.190927",
        "vertexCount": faces // 2,
        "isAgeRestricted": draw.random() < 0.01,
        "archives": {
            kind: {
                "textureCount": draw.choice((0, 0, 1, 6)), "size": faces * 60, "type": kind,
                "textureMaxResolution": 1024, "faceCount": faces, "vertexCount": faces,
            }
            for kind in ("glb", "gltf", "source", "usdz")
        },
        "license": draw.choice(LICENSES),
    }  # fmt: skip
    return {**record, **changes}


def shards(
    records: Iterable[dict[str, Any]], count: int = len(SHARDS)
) -> dict[str, dict[str, dict[str, Any]]]:
    """Path to content of the annotation files, records dealt out one by one."""
    found: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in SHARDS[:count]}
    for number, record in enumerate(records):
        found[SHARDS[number % count]][record["uid"]] = record
    return found


def packed(content: object) -> bytes:
    return gzip.compress(json.dumps(content).encode(), 1)


def write(folder: Path, records: Iterable[dict[str, Any]], lvis: dict[str, list[str]]) -> None:
    """All annotation files into an ``objaverse`` cache."""
    base = folder / "hf-objaverse-v1"
    (base / "metadata").mkdir(parents=True, exist_ok=True)
    for name, content in shards(records).items():
        (base / name).write_bytes(packed(content))
    (base / LVIS).write_bytes(packed(lvis))


def many(count: int, seed: int = 0) -> Iterator[dict[str, Any]]:
    return (annotation(number, seed) for number in range(count))
