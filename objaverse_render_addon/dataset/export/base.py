"""What a format is, what may be chosen, and what it has to tell."""

from __future__ import annotations

import hashlib
import math
import re
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from ...cameras import draw
from ...errors import InvalidJob

if TYPE_CHECKING:
    from .scene import Scene
    from .target import SceneFiles, Target

__all__ = ["SPLITS", "Format", "Note", "Options", "Record", "safe_key"]

DataKind = Literal[
    "clipped",  # values outside what the format can say
    "quantised",  # fewer steps than are stored
    "rescaled",  # other units or another box
    "composited",  # alpha laid over a colour
    "dropped",  # no place for it
    "renamed",  # another name or number
    "differs",  # not what trainers take for granted; the text says what to tell them
]
SPLITS: Final = ("train", "val", "test")
LANGUAGES: Final = ("en", "de", "zh")


@dataclass(frozen=True, slots=True)
class Options:
    """What may be chosen in an export. All of it is in ``export.json``.

    Attributes:
        views: Which of an asset's views, counted from 0; ``None`` is all.
        background: Behind the object where a format holds no alpha; sRGB in 0..1. ``None`` is
            what the format's trainers paint there themselves (:attr:`Format.background`).
        alpha: Keep alpha in the pictures of a format that trainers read with or without.
        split: Shares of train, val and test. Formats with a list of scenes split the scenes,
            formats with one scene per trainer run split its views.
        seed: Of the split.
        masks: Write masks where a format takes them as "ignore what is outside".
        aesthetic_score: For TRELLIS, whose trainers leave out what has none; of every asset.
        frame: Of animations, the one frame that is exported; ``None`` is all, where a format has a
            place for time.
        language: Of the sentences of composed scenes: ``en``, ``de`` or ``zh``, where they have
            been made in it.
    """

    views: tuple[int, ...] | None = None
    background: tuple[float, float, float] | None = None
    alpha: bool = False
    split: tuple[float, float, float] = (0.9, 0.05, 0.05)
    seed: int = 0
    masks: bool = False
    aesthetic_score: float | None = None
    frame: int | None = None
    language: str = "en"

    def __post_init__(self) -> None:
        if self.language not in LANGUAGES:
            raise InvalidJob(f"language is {', '.join(LANGUAGES)}, and not {self.language}.")
        if self.views is not None and (not self.views or min(self.views) < 0):
            raise InvalidJob(f"views {self.views} are no numbers of views.")
        color = self.background
        if color is not None and (len(color) != 3 or not all(0 <= c <= 1 for c in color)):
            raise InvalidJob(f"background {self.background} is not three channels in 0..1.")
        fractions = len(self.split) == 3 and all(0 <= share <= 1 for share in self.split)
        if not fractions or abs(sum(self.split) - 1) > 1e-6:
            raise InvalidJob(f"split {self.split} is not three shares that sum to 1.")
        if self.aesthetic_score is not None and not math.isfinite(self.aesthetic_score):
            raise InvalidJob(f"aesthetic_score {self.aesthetic_score} is no number.")

    def resolved(self, form: Format) -> Options:
        """The same options with the format's own background filled in.

        Raises:
            InvalidJob: The format has no pictures that may keep their alpha.
        """
        if self.alpha and not form.may_keep_alpha:
            raise InvalidJob(
                f"{form.name} has no choice of pictures with alpha.",
                hint="Leave --alpha away; the format's page says what its pictures hold.",
            )
        if self.alpha and self.background is not None:
            raise InvalidJob(
                "Pictures that keep alpha have no background.", hint="Give --alpha or --background."
            )
        return replace(self, background=self.background or form.background)

    def to_dict(self) -> dict[str, Any]:
        """As it is written: lists for tuples."""
        values = asdict(self).items()
        return {name: list(v) if isinstance(v, tuple) else v for name, v in values}

    def split_of(self, asset_id: str) -> str:
        """``train``, ``val`` or ``test``; depends on the seed and the id alone.

        So an asset stays in its split whatever is added to or missing from the export.
        """
        share = float(draw(self.seed, asset_id, "split", 0, 1)[0])
        if share < self.split[0]:
            return "train"
        return "val" if share < self.split[0] + self.split[1] else "test"

    def split_views(self, asset_id: str, count: int) -> dict[str, list[int]]:
        """The positions 0..count-1 in three parts, each in order, drawn by the seed.

        For scenes none of whose views are held out; see :meth:`.Scene.split_views`.

        val and test get their share rounded, but at least one view each where there are three
        or more and their share is not 0; train gets the rest.
        """
        order = sorted(
            range(count), key=lambda i: float(draw(self.seed, asset_id, "split-view", i, 1)[0])
        )
        sizes = [round(share * count) for share in self.split[1:]]
        if count >= 3:
            sizes = [max(n, int(s > 0)) for n, s in zip(sizes, self.split[1:], strict=True)]
        val, test = order[: sizes[0]], order[sizes[0] : sizes[0] + sizes[1]]
        train = order[sizes[0] + sizes[1] :]
        return {"train": sorted(train), "val": sorted(val), "test": sorted(test)}


@dataclass(slots=True)
class Note:
    """One way in which an export is not exactly what is stored.

    Attributes:
        kind: What happened to the data.
        text: A sentence that is the same for every scene it happens to.
        amount: How often; what is counted is in the text (pixels, views).
        worst: The largest deviation, in the unit that the text names.
    """

    kind: DataKind
    text: str
    amount: int = 1
    worst: float | None = None

    def add(self, amount: int, worst: float | None) -> None:
        """It happened again."""
        self.amount += amount
        if worst is not None:
            self.worst = worst if self.worst is None else max(self.worst, worst)


@dataclass(slots=True)
class Record:
    """What the target knows of a scene that is whole.

    Attributes:
        key: The scene's name in the target.
        source: SHA-256 of the asset's ``metadata.json``; another one is another render.
        asset_sha256: Of the source file; another one is another asset.
        views: How many were written.
        files: Path in the target to size in bytes.
        data: What the format's ``write`` returned, for its ``finish``.
    """

    key: str
    asset_id: str
    source: str
    asset_sha256: str
    split: str
    views: int
    files: dict[str, int]
    data: dict[str, Any] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> Record:
        """The inverse of :meth:`to_dict`.

        Raises:
            TypeError, KeyError: It is none.
        """
        return Record(**{**data, "notes": [Note(**note) for note in data["notes"]]})


def safe_key(asset_id: str) -> str:
    """A name for files: the id itself, or what is left of a strange one and part of its hash."""
    if re.fullmatch(r"[\w\-]{1,120}", asset_id):
        return asset_id
    kept = re.sub(r"[^\w\-]+", "_", asset_id).strip("_")[:100]
    return f"{kept}_{hashlib.sha256(asset_id.encode()).hexdigest()[:8]}".lstrip("_")


class Format:
    """A format: declare what it is, write one scene, finish the lists.

    Attributes:
        name: What ``--to`` calls it.
        about: One line for ``--to help``.
        trains: The command that trains on the result; ``{target}``, ``{key}`` and ``{views}``
            stand for the export's folder, a scene, and the fewest views that any scene has.
            Empty where there is no single one; see :meth:`command`.
        needs: Passes that have to be stored.
        holds: Stored passes that end up in the format; the others are reported as dropped.
        half_edge: Half of the longest edge that trainers expect the object's box to have,
            centred on the origin; cameras and depth are rescaled to it and that is told. ``None``
            takes any.
        background: What trainers paint behind the object; sRGB in 0..1.
        may_keep_alpha: Whether trainers read pictures with and without alpha.
        projections: Lenses that it has a place for.
        has_time: Whether it has a place for when a picture was taken; others refuse what moves.
        modules: Importable names that writing needs, from the pip extra ``extra``.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    trains: ClassVar[str] = ""
    needs: ClassVar[tuple[str, ...]] = ("rgb",)
    holds: ClassVar[tuple[str, ...]] = ("rgb",)
    half_edge: ClassVar[float | None] = None
    background: ClassVar[tuple[float, float, float]] = (1.0, 1.0, 1.0)
    may_keep_alpha: ClassVar[bool] = False
    projections: ClassVar[tuple[str, ...]] = ("perspective",)
    has_time: ClassVar[bool] = False
    modules: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[str] = ""

    @property
    def has_lists(self) -> bool:
        """Whether scenes are listed by split, rather than views within each scene."""
        return type(self).finish is not Format.finish

    def holds_out(self, split: str) -> bool:  # noqa: ARG002
        """Whether trainers know which views of a scene are held out.

        Elsewhere such views are not written, for a trainer would learn from them.

        Args:
            split: Of the scene.
        """
        return False

    def key(self, asset_id: str, metadata: dict[str, Any]) -> str:  # noqa: ARG002
        """The scene's name in the target: unique, and safe as a file name."""
        return safe_key(asset_id)

    def places(self, key: str, split: str) -> tuple[str, ...]:  # noqa: ARG002
        """Folders or files in the target that are this scene's alone; they are swapped whole."""
        return (key,)

    def write(self, scene: Scene, out: SceneFiles) -> dict[str, Any]:
        """Write one scene.

        Returns:
            JSON data that :meth:`finish` needs.
        """
        raise NotImplementedError

    def is_whole(self, target: Target, record: Record) -> bool:
        """Whether a scene that was written once is still there."""
        return target.has_files(record)

    def finish(self, target: Target, records: list[Record], options: Options) -> None:
        """Write the lists over all scenes, from the records alone."""

    def command(self, target: Path, records: list[Record]) -> str:
        """The command that trains on these scenes, from :attr:`trains`."""
        key = records[0].key if records else "SCENE"
        fewest = min((record.views for record in records), default=0)
        return self.trains.format(target=target, key=key, views=fewest)

    def tells(
        self, target: Target, records: list[Record], options: Options  # noqa: ARG002
    ) -> list[Note]:
        """Where the export as a whole is not what trainers take for granted.

        What concerns single scenes is told by :meth:`.Scene.note`.
        """
        if not self.has_lists or not records:
            return []
        there = {record.split for record in records}
        return [
            Note(
                "differs",
                f"no scene is in the split {split}, so its list is empty; --split gives it a "
                "larger share, and --seed draws anew",
            )
            for split, share in zip(SPLITS, options.split, strict=True)
            if share > 0 and split not in there
        ]
