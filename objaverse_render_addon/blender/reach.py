"""Between an asset and Blender: what is imported reads nothing but the asset's own files.

Before an importer runs, the file's references are looked at (:mod:`..assets.references`), and where
one is refused the importer gets a copy without it. After it, before anything is evaluated, every
path that is in Blender then is looked at in the same way; of a .blend file that is the only time at
which all of them are known. What would be written while a scene is evaluated goes into a folder of
Blender's own for temporary files.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import bpy

from ..assets.formats import EXTENSIONS
from ..assets.reach import Part, Reach, base_name
from ..assets.references import look
from ..assets.references.look import ABSENT, missing_parts
from ..assets.text import clean
from ..errors import RenderError, UnsafeData

__all__ = ["Gate", "places_in_use"]

_MOST_CACHE: Final = 4 << 30
_DIGITS: Final = re.compile(r"\d+(?=\D*$)")


class Gate:
    """Lets one file in.

    Use it as a context around the import: it gives the file to import, and looks at what came in
    when the context ends.

    Args:
        path: The asset's file.
        kind: Its format.
        folders: Folders that the asset may read from beside its own.
        policy: ``doubt`` takes what it may not read for missing, ``fail`` raises.

    Raises:
        MissingParts: By the policy, or because nothing can be imported without the part.
        RenderError: As :func:`..assets.references.look`.
    """

    def __init__(self, path: Path, kind: str, folders: Iterable[str], policy: str) -> None:
        self._path, self._kind, self._policy = path.resolve(), kind, policy
        self._reach = Reach.of(self._path, folders)
        self._look = look(self._path, kind, self._reach)
        self._missing = self._look.missing
        if self._look.needed or (self._missing and policy == "fail"):
            raise missing_parts(self._path, self._missing)
        self._room = Path(tempfile.mkdtemp(prefix="reach-", dir=bpy.app.tempdir))
        self._before: set[Any] = set()
        self._trouble: Exception | None = None
        self._opened = False
        self._done = contextlib.ExitStack()

    def __enter__(self) -> Path:
        file = self._look.room(self._path, self._room / "asset")
        # What is looked for relative to the process is not the asset's either.
        empty = self._room / "empty"
        empty.mkdir()
        with contextlib.suppress(OSError):
            self._done.enter_context(contextlib.chdir(empty))
        self._before = set(bpy.data.user_map())
        if self._kind == "blend":
            # Called before Blender evaluates what it opened, and kept where others are forgotten.
            handlers = bpy.app.handlers.load_post

            @bpy.app.handlers.persistent
            def handler(*_: Any) -> None:
                self._on_load()

            handlers.insert(0, handler)
            self._done.callback(lambda: handler in handlers and handlers.remove(handler))
        return file

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._done.close()
        if self._trouble is not None:
            raise UnsafeData(
                f"{self._path}: what it reads cannot be kept to its folder: {self._trouble}."
            ) from self._trouble
        if isinstance(error, RenderError):
            error.message = error.message.replace(f"{self._room / 'asset'}", "")
        if kind is None:
            self._check(set(bpy.data.user_map()) - self._before)
            if self._missing and self._policy == "fail":
                raise missing_parts(self._path, self._missing)

    @property
    def warnings(self) -> list[str]:
        """``missing-parts: …``, where there are some."""
        if not self._missing:
            return []
        names = [clean(name, 120) for name in list(self._missing)[:5]]
        more = f" and {len(self._missing) - 5} more" if len(self._missing) > 5 else ""
        return [f"missing-parts: {', '.join(names)}{more}"]

    # --- Looking at what came in --------------------------------------------------------------

    def _on_load(self) -> None:
        self._opened = True
        try:
            self._check(set(bpy.data.user_map()))
        except Exception as error:
            # Blender only prints what a handler raises, and would evaluate the scene next.
            self._trouble = error
            bpy.data.batch_remove(list(bpy.data.objects))

    def _check(self, blocks: set[Any]) -> None:
        for block in sorted(blocks, key=lambda item: (item.id_type, item.name_full)):
            if block.id_type == "IMAGE":
                self._image(block)
                continue  # It may be another one by now.
            if block.id_type == "FONT":
                self._font(block)
            elif block.id_type in ("SOUND", "MOVIECLIP", "VOLUME", "CACHEFILE"):
                if not getattr(block, "packed_file", None):
                    self._property(block, "filepath", block)
            elif block.id_type == "SCENE":
                self._scene(block)
            elif block.id_type == "OBJECT":
                self._object(block)
            tree = block if block.id_type == "NODETREE" else getattr(block, "node_tree", None)
            if tree is not None:
                self._nodes(tree, block)

    def _image(self, image: Any) -> None:
        if image.packed_file is not None or image.source in ("GENERATED", "VIEWER"):
            return
        if not image.filepath:
            return
        if image.is_multiview or image.use_multiview:
            image = self._one_eyed(image)
        names = [image.filepath]
        if image.source in ("SEQUENCE", "TILED"):
            names += self._siblings(image)
        refused = next((name for name in names if self._judge(name, image).refused), None)
        if refused is not None:
            self._miss(image.filepath, self._judge(refused, image).refused)
            image.source = "FILE"
            image.filepath = _nothing(image.filepath)
        elif (moved := self._moved(image.filepath, image)) is not None:
            if self._look.main is not None and Path(image.filepath).is_file():
                # Out of a package, it has no other place.
                image.pack()
            else:
                image.filepath = moved

    @staticmethod
    def _one_eyed(image: Any) -> Any:
        """The image without its views, each of which has a file of its own that nobody may ask
        for; what is rendered has one eye.
        """
        plain = bpy.data.images.new(image.name, 1, 1)
        plain.source, plain.alpha_mode = image.source, image.alpha_mode
        plain.colorspace_settings.name = image.colorspace_settings.name
        plain.filepath = image.filepath
        if image.library is not None:
            plain.filepath = bpy.path.abspath(image.filepath, library=image.library)
        image.user_remap(plain)
        bpy.data.images.remove(image)
        return plain

    def _siblings(self, image: Any) -> list[str]:
        """The files of a sequence or of tiles."""
        if image.source == "TILED":
            base, name = self._base(image.filepath, image)
            return self._reach.tiles(name, base) or []
        folder, name = os.path.split(image.filepath.replace("\\", "/"))
        base, relative = self._base(f"{folder}/", image)
        part = self._reach.resolve(relative or ".", base, folder=True)
        if part.path is None or not _DIGITS.search(name):
            return []
        head, tail = _DIGITS.split(name, maxsplit=1)
        pattern = re.compile(rf"{re.escape(head)}\d+{re.escape(tail)}")
        names = [one.name for one in part.path.iterdir()]
        return [f"{folder}/{one}" for one in names if pattern.fullmatch(one)]

    def _font(self, font: Any) -> None:
        if font.filepath in ("", "<builtin>") or font.packed_file is not None:
            return
        part = self._judge(font.filepath, font)
        moved = self._moved(font.filepath, font)
        if not part.refused and moved is None:
            return
        if part.refused:
            self._miss(font.filepath, part.refused)
        # The path of a font cannot be set.
        other = "<builtin>" if part.path is None else str(part.path)
        font.user_remap(bpy.data.fonts.load(other))

    def _scene(self, scene: Any) -> None:
        scene.render.filepath = str(self._folder() / "render")
        if scene.sequence_editor is not None:
            # Strips are not rendered, and read films and sounds.
            scene.sequence_editor_clear()
        world = scene.rigidbody_world
        if world is not None and world.point_cache is not None:
            self._point_cache(world.point_cache, scene)

    def _object(self, obj: Any) -> None:
        for modifier in obj.modifiers:
            if modifier.type == "FLUID":
                self._fluid(modifier, obj)
                continue
            for name in _path_names(modifier):
                self._property(modifier, name, obj)
            for bake in getattr(modifier, "bakes", ()):
                for name in _path_names(bake):
                    self._property(bake, name, obj)
            self._point_cache(getattr(modifier, "point_cache", None), obj)
            canvas = getattr(modifier, "canvas_settings", None)
            for surface in getattr(canvas, "canvas_surfaces", ()):
                surface.image_output_path = str(self._folder())
                cache = surface.point_cache
                self._point_cache(cache, obj)
                if not cache.is_baked and not cache.use_external:
                    # It is written to disk whatever it says, unless it is somebody else's.
                    cache.use_disk_cache = cache.use_external = True
                    cache.filepath = str(self._folder())
        for system in obj.particle_systems:
            self._point_cache(system.point_cache, obj)

    def _fluid(self, modifier: Any, obj: Any) -> None:
        domain = getattr(modifier, "domain_settings", None)
        if domain is None:
            return
        folder = self._folder()
        base, name = self._base(domain.cache_directory, obj)
        part = self._reach.resolve(name, base, folder=True)
        if part.path is not None and _size(part.path) <= _MOST_CACHE:
            # Evaluation reads a baked cache, and writes beside it.
            shutil.copytree(part.path, folder, dirs_exist_ok=True, ignore=_links)
        domain.cache_directory = str(folder)

    def _point_cache(self, cache: Any, owner: Any) -> None:
        if cache is None:
            return
        if cache.use_external:
            base, name = self._base(cache.filepath, owner)
            part = self._reach.resolve(name, base, folder=True)
            if part.path is None:
                self._miss(cache.filepath, part.refused or ABSENT)
                cache.use_external = False
        if cache.use_disk_cache and not cache.is_baked:
            cache.use_disk_cache = False

    def _nodes(self, tree: Any, owner: Any) -> None:
        for node in tree.nodes:
            if node.bl_idname == "CompositorNodeOutputFile":
                name = "base_path" if hasattr(node, "base_path") else "directory"
                setattr(node, name, str(self._folder()))
                continue
            for name in _path_names(node):
                self._property(node, name, owner)
            for socket in _path_sockets(node):
                self._socket(tree, node, socket, owner)

    def _socket(self, tree: Any, node: Any, socket: Any, owner: Any) -> None:
        if socket.is_linked:
            # Text is put together while the nodes are evaluated.
            for link in list(socket.links):
                tree.links.remove(link)
            socket.default_value = ""
            self._miss(f"{tree.name}: {node.name}", "is computed")
        elif socket.default_value:
            self._property(socket, "default_value", owner)

    def _property(self, owner: Any, name: str, block: Any) -> None:
        """Look at one path, and change it where it has to be."""
        value = getattr(owner, name)
        if not value:
            return
        part = self._judge(value, block)
        if part.refused == "is no regular file":
            base, relative = self._base(value, block)
            if self._reach.resolve(relative, base, folder=True).path is not None:
                part = Part()
        if not part.refused and part.path is not None:
            part = self._deeper(part.path)
        if part.refused:
            self._miss(value, part.refused)
            setattr(owner, name, _nothing(value))
        elif (moved := self._moved(value, block)) is not None:
            setattr(owner, name, moved)

    def _deeper(self, path: Path) -> Part:
        """Of a 3D file that is read in its turn, whether it keeps to its folder."""
        kind = path.suffix.lower().lstrip(".")
        if path == self._path or kind not in EXTENSIONS:
            return Part(path)
        inner = look(path, kind, self._reach)
        refused = {name: why for name, why in inner.missing.items() if why != ABSENT}
        return Part(refused="needs what is not its own") if refused else Part(path)

    # --- Paths --------------------------------------------------------------------------------

    def _base(self, value: str, block: Any) -> tuple[Path, str]:
        """The folder that a path is relative to, and the path; both outside of the room."""
        library = getattr(block, "library", None)
        home = self._path.parent
        if library is not None:
            home = Path(self.origin(bpy.path.abspath(library.filepath))).parent
        if value.startswith("//"):
            if self._opened:
                return home, value[2:]
            # What was appended is relative to the file that is open.
            value = bpy.path.abspath(value, library=library)
        return home, self.origin(value)

    def origin(self, value: str) -> str:
        """What a path into the copy of the asset is a path to."""
        inside = f"{self._room / 'asset'}{os.sep}"
        if not value.startswith(inside):
            return value
        return self._path.anchor + value.removeprefix(inside)

    def _judge(self, value: str, block: Any) -> Part:
        base, name = self._base(value, block)
        return self._reach.resolve(name, base)

    def _moved(self, value: str, block: Any) -> str | None:
        """Where a path that led into the room leads now; ``None`` where it did not."""
        base, name = self._base(value, block)
        if value.startswith("//"):
            if not self._look.copies or not self._opened:
                return None
        elif Path(value).is_absolute() and name == value:
            return None
        # Blender takes what is neither as relative to the process.
        return os.path.normpath(base / name.replace("\\", "/"))

    def _miss(self, value: str, why: str) -> None:
        self._missing.setdefault(self.origin(value), why)

    def _folder(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self._room))


def _path_names(owner: Any) -> list[str]:
    """Properties that are paths, of anything in Blender."""
    kind = owner.bl_rna.identifier
    if kind not in _known_names:
        _known_names[kind] = [
            item.identifier
            for item in owner.bl_rna.properties
            if item.type == "STRING"
            and item.subtype in ("FILE_PATH", "DIR_PATH")
            and not item.is_readonly
        ]
    return _known_names[kind]


_known_names: dict[str, list[str]] = {}


def _path_sockets(node: Any) -> list[Any]:
    """Inputs of a node that are paths of what it reads."""
    reads = node.bl_idname.startswith("GeometryNodeImport")
    return [
        socket for socket in node.inputs
        if (reads and socket.bl_idname.startswith("NodeSocketString"))
        or (socket.bl_idname == "NodeSocketStringFilePath" and node.type != "GROUP")
    ]  # fmt: skip


def places_in_use() -> list[str]:
    """Folders of the files that the open scene refers to: what its owner lets a copy of it read.

    Of a file that lies in somebody's home, or above that, it is the file alone.
    """
    names = set(bpy.utils.blend_paths(absolute=True))
    names |= {bpy.path.abspath(name, library=library) for name, library in _further_paths()}
    found = {Path(os.path.normpath(name)) for name in names}
    home = Path.home()
    places = set()
    for path in found:
        folder = path if path.is_dir() else path.parent
        places.add(path if home.is_relative_to(folder) or folder == folder.parent else folder)
    return sorted(str(place) for place in places if place.is_absolute() and place.exists())


def _further_paths() -> Iterator[tuple[str, Any]]:
    """Paths of modifiers and nodes, which Blender does not list, and the library they are from."""
    for block in bpy.data.user_map():
        owners: list[tuple[Any, str]] = []
        if block.id_type == "OBJECT":
            for modifier in block.modifiers:
                for one in (modifier, *getattr(modifier, "bakes", ())):
                    owners += [(one, name) for name in _path_names(one)]
        tree = block if block.id_type == "NODETREE" else getattr(block, "node_tree", None)
        for node in tree.nodes if tree is not None else ():
            owners += [(node, name) for name in _path_names(node)]
            owners += [(socket, "default_value") for socket in _path_sockets(node)]
        for owner, name in owners:
            if value := getattr(owner, name):
                yield value, block.library


def _nothing(value: str) -> str:
    return f"//missing/{base_name(value) or 'file'}"


def _links(folder: str, names: list[str]) -> list[str]:
    """Of a folder that is copied, what is neither a file nor a folder."""
    paths = [(name, Path(folder, name)) for name in names]
    return [
        name for name, path in paths if path.is_symlink() or not (path.is_file() or path.is_dir())
    ]


def _size(folder: Path) -> int:
    return sum(entry.stat().st_size for entry in _files(folder))


def _files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            yield path


