"""Hostile inputs by the hundred: each kind of reference of each format, with each trick.

A case is a folder with a file that wants something from ``outside``. A ``.blend`` file is written
by Blender once for each kind of reference; a case is that file with another path in its bytes, as
somebody who means harm would do it.
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from . import hostile, scenes

CANARY: Final = "canary-5f1c9a"
"""What of the outside would be seen in whatever took it."""
_NAME: Final = "secret"


@dataclass
class Ground:
    """Where a matrix stands.

    Attributes:
        inside: A folder for each case.
        outside: What none of them may touch.
        server: Host and port of one that nobody may ask.
        watched: Folders in which nothing may be opened.
    """

    inside: Path
    outside: Path
    server: str
    watched: list[Path] = field(default_factory=list)

    def secret(self, extension: str) -> Path:
        return self.outside / f"{_NAME}.{extension}"


@dataclass(frozen=True)
class Case:
    """One of them.

    Attributes:
        name: Carrier and trick.
        source: What the list of sources says.
        silent: Nothing that renders is missing, so nothing need be said.
        portable: Whether it is the same where a server has it.
    """

    name: str
    source: str
    silent: bool = False
    portable: bool = True


# --- Tricks -----------------------------------------------------------------------------------
# Each spells, for a file in a folder of its own, a way to the secret file of an extension.

Trick = Callable[[Ground, Path, str], str]


def _link(ground: Ground, home: Path, extension: str) -> str:
    (home / f"link.{extension}").symlink_to(ground.secret(extension))
    return f"link.{extension}"


def _linked_folder(ground: Ground, home: Path, extension: str) -> str:
    (home / "linked").symlink_to(ground.outside)
    return f"linked/{_NAME}.{extension}"


def _pipe(_: Ground, home: Path, extension: str) -> str:
    os.mkfifo(home / f"pipe.{extension}")
    return f"pipe.{extension}"


def _device(_: Ground, home: Path, extension: str) -> str:
    (home / f"device.{extension}").symlink_to("/dev/zero")
    return f"device.{extension}"


def _huge(_: Ground, home: Path, extension: str) -> str:
    with (home / f"huge.{extension}").open("wb") as file:
        file.truncate(9 << 30)
    return f"huge.{extension}"


def _hidden(ground: Ground, home: Path, extension: str) -> str:
    folder = home / ".git"
    folder.mkdir()
    if ground.secret(extension).exists():
        shutil.copyfile(ground.secret(extension), folder / f"{_NAME}.{extension}")
    ground.watched.append(folder)
    return f".git/{_NAME}.{extension}"


def _through(ground: Ground, home: Path, extension: str) -> str:
    (home / "textures").mkdir()
    return f"textures/../../../{ground.outside.name}/{_NAME}.{extension}"


TRICKS: Final[dict[str, Trick]] = {
    "absolute": lambda ground, _, extension: str(ground.secret(extension)),
    "dotdot": lambda ground, _, extension: f"../../{ground.outside.name}/{_NAME}.{extension}",
    "through": _through,
    "percent": lambda ground, _, extension: (
        f"%2e%2e/%2e%2e/{ground.outside.name}/{_NAME}.{extension}"
    ),
    "slash": lambda ground, _, extension: f"..%2F..%2F{ground.outside.name}%2F{_NAME}.{extension}",
    "backslash": lambda ground, _, extension: (
        rf"..\..\{ground.outside.name}\{_NAME}.{extension}"
    ),
    "file": lambda ground, _, extension: f"file://{ground.secret(extension)}",
    "localhost": lambda ground, _, extension: f"file://localhost{ground.secret(extension)}",
    "http": lambda ground, _, extension: f"http://{ground.server}/{_NAME}.{extension}",
    "unc": lambda _, __, extension: rf"\\127.0.0.1\share\{_NAME}.{extension}",
    "slashes": lambda ground, _, extension: f"/{ground.secret(extension)}",
    "root": lambda ground, _, extension: f"/proc/self/root{ground.secret(extension)}",
    "environ": lambda *_: "/proc/self/environ",
    "zero": lambda *_: "/dev/zero",
    "fifo": lambda ground, _, __: str(ground.outside / "fifo"),
    "link": _link,
    "folder": _linked_folder,
    "pipe": _pipe,
    "device": _device,
    "huge": _huge,
    "hidden": _hidden,
}
_HERE_ALONE: Final = {"link", "folder", "pipe", "device", "huge", "hidden"}
"""What a server does not have."""
_LEADS_OUT: Final = TRICKS.keys() - {"percent", "slash", "backslash", "unc", "slashes"}
"""The others are, in some formats, names of files that are not there."""

# --- Carriers ---------------------------------------------------------------------------------
# Each writes a file that has a reference.

Write = Callable[[Path, str, int], None]


@dataclass(frozen=True)
class Carrier:
    """A kind of reference.

    Attributes:
        extension: Of the file that has it.
        wants: Extension of what it refers to.
        write: Writes the file, given the reference and a number to vary by.
        relative: What a path beside the file begins with.
        silent: Nothing that renders is missing without it.
    """

    extension: str
    wants: str
    write: Write
    relative: str = ""
    silent: bool = False


def _glb_buffer(path: Path, uri: str, _: int) -> None:
    hostile.environment_glb(path, uri)


def _glb_image(path: Path, uri: str, _: int) -> None:
    scenes.write_glb(path, change=hostile.textured(uri))


def _obj_library(path: Path, name: str, number: int) -> None:
    hostile.write_obj(path, ("", "\\\n ")[number % 2] + name)


_MAPS: Final = (
    "map_Kd", "map_Kd -s 1 1 1", "map_Ks", "map_Bump -bm 1", "bump", "disp", "map_d", "norm",
    "refl -type sphere", "map_Ke", "decal",
)  # fmt: skip


def _obj_map(path: Path, name: str, number: int) -> None:
    hostile.write_obj(path, f"{path.stem}.mtl", f"{_MAPS[number % len(_MAPS)]} {name}")


def _ply(path: Path, name: str, _: int) -> None:
    scenes.write_ply(path, scenes.CUBE_VERTICES, scenes.triangles(scenes.CUBE_FACES))
    head, _, rest = path.read_bytes().partition(b"\n")
    path.write_bytes(head + b"\ncomment TextureFile " + name.encode() + b"\n" + rest)


def _usd(head: str = "", prim: str = "") -> Write:
    """A layer with ``NAME`` in it; a texture of this name otherwise."""

    def write(path: Path, name: str, _: int) -> None:
        path.write_text(
            hostile.usd_text(
                "" if head or prim else name,
                head.replace("NAME", name), prim.replace("NAME", name),
            )
        )  # fmt: skip

    return write


def _usd_material(path: Path, name: str, _: int) -> None:
    path.write_text(
        hostile.usd_text(prim='def Material "X" (references = @./part.mtlx@</MaterialX>) {}')
    )
    path.with_name("part.mtlx").write_text(
        '<?xml version="1.0"?><materialx version="1.38"><image name="i" type="color3">'
        f'<input name="file" type="filename" value="{name}"/></image></materialx>'
    )


def _usd_part(path: Path, name: str, _: int) -> None:
    path.write_text(hostile.usd_text(prim='def Xform "R" (references = @./part.usda@) {}'))
    path.with_name("part.usda").write_text(hostile.usd_text(name))


def _usdz(prim: str = "") -> Write:
    def write(path: Path, name: str, _: int) -> None:
        text = hostile.usd_text("" if prim else name, prim=prim.replace("NAME", name))
        hostile.write_usdz(path, text)

    return write


def _dae_image(path: Path, name: str, _: int) -> None:
    hostile.write_dae(path, name)


def _dae_geometry(path: Path, name: str, _: int) -> None:
    hostile.write_dae(path, "")
    text = path.read_text()
    path.write_text(text.replace('instance_geometry url="#g"', f'instance_geometry url="{name}#g"'))


_ROOM: Final = 300
"""Letters of the paths in templates."""


class Templates:
    """Files that Blender writes, and that become cases by another path in their bytes."""

    def __init__(self, folder: Path, ground: Ground) -> None:
        self._folder, self._ground = folder, ground
        self._data: dict[str, tuple[bytes, bytes]] = {}

    def _path(self, extension: str) -> Path:
        """A copy of the secret, at a path that is long enough for every other."""
        folder = self._folder / ("x" * (_ROOM // 2))
        folder.mkdir(exist_ok=True)
        path = folder / f"{'x' * (_ROOM // 2)}_L.{extension}"
        if not path.exists() and self._ground.secret(extension).exists():
            shutil.copyfile(self._ground.secret(extension), path)
        return path

    def blend(self, extension: str, fill: Callable[[str], None]) -> Write:
        """A .blend whose reference is a path."""

        def write(path: Path, name: str, _: int) -> None:
            key = f"{getattr(fill, '__name__', '')} {extension} {getattr(fill, 'key', '')}"
            if key not in self._data:
                import bpy

                wanted = self._path(extension)
                template = self._folder / "template.blend"
                bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
                fill(str(wanted))
                bpy.ops.wm.save_as_mainfile(
                    filepath=str(template), check_existing=False, compress=False,
                    relative_remap=False,
                )  # fmt: skip
                self._data[key] = template.read_bytes(), str(wanted).encode()
            data, old = self._data[key]
            new = name.encode()
            pairs = [(old, new)]
            if old not in data:
                # Strips keep folder and name apart.
                (folder, file), (ours, called) = os.path.split(old), os.path.split(new)
                pairs = [(folder + b"/", ours + b"/"), (file, called)]
            for one, other in pairs:
                assert one in data and len(other) <= len(one), (key, name)
                data = data.replace(one, other.ljust(len(one), b"\0"))
            path.write_bytes(data)

        return write

    def fbx(self, path: Path, name: str, _: int) -> None:
        """An FBX whose texture is a path."""
        hostile.write_fbx(path, name, name)


def _shown(image: Any) -> Any:
    """A cube that shows an image; its material."""
    material, tree, _ = scenes.new_material()
    node = tree.nodes.new("ShaderNodeTexImage")
    node.image = image
    shader = tree.nodes.new("ShaderNodeBsdfPrincipled")
    tree.links.new(node.outputs[0], shader.inputs["Base Color"])
    output = next(item for item in tree.nodes if item.type == "OUTPUT_MATERIAL")
    tree.links.new(shader.outputs[0], output.inputs[0])
    scenes.add_cube(material=material)
    return material


def _file_image(path: str, **settings: Any) -> Any:
    import bpy

    image = bpy.data.images.new("Image", 8, 8)
    image.source = "FILE"
    image.filepath = path
    for key, value in settings.items():
        setattr(image, key, value)
    return image


def blend_image(path: str) -> None:
    _shown(_file_image(path))


def blend_sequence(path: str) -> None:
    _shown(_file_image(path, source="SEQUENCE"))


def blend_stereo(path: str) -> None:
    """Each eye has a path of its own, whatever the image says."""
    import bpy

    shutil.copyfile(path, path.replace("_L.png", "_R.png"))
    render = bpy.context.scene.render
    render.use_multiview, render.views_format = True, "STEREO_3D"
    bpy.ops.image.open(filepath=path, relative_path=False, use_multiview=True)
    (image,) = bpy.data.images
    image.use_multiview, image.views_format = True, "INDIVIDUAL"
    image.filepath = "//good.png"
    _shown(image)


def blend_world(path: str) -> None:
    import bpy

    scenes.add_cube()
    world = bpy.data.worlds.new("World")
    if world.node_tree is None:
        world.use_nodes = True
    node = world.node_tree.nodes.new("ShaderNodeTexEnvironment")
    node.image = _file_image(path)
    background = next(item for item in world.node_tree.nodes if item.type == "BACKGROUND")
    world.node_tree.links.new(node.outputs[0], background.inputs[0])
    bpy.context.scene.world = world


def blend_library(path: str) -> None:
    import bpy

    scenes.add_cube()
    with bpy.data.libraries.load(path, link=True) as (there, wanted):
        wanted.objects = list(there.objects)
    for obj in wanted.objects:
        bpy.context.scene.collection.objects.link(obj)


def blend_font(path: str) -> None:
    import bpy

    scenes.add_cube()
    curve = bpy.data.curves.new("Text", "FONT")
    curve.body = "text"
    curve.font = bpy.data.fonts.load(path)
    bpy.context.scene.collection.objects.link(bpy.data.objects.new("Text", curve))


def blend_sound(path: str) -> None:
    import bpy

    scenes.add_cube()
    speaker = bpy.data.speakers.new("Speaker")
    speaker.sound = bpy.data.sounds.load(path)
    bpy.context.scene.collection.objects.link(bpy.data.objects.new("Speaker", speaker))


def blend_movie(path: str) -> None:
    import bpy

    obj = scenes.add_cube()
    clip = bpy.data.movieclips.load(path)
    bpy.context.scene.active_clip = clip
    constraint = obj.constraints.new("CAMERA_SOLVER")
    constraint.clip = clip


def blend_volume(path: str) -> None:
    import bpy

    scenes.add_cube()
    volume = bpy.data.volumes.new("Volume")
    volume.filepath = path
    bpy.context.scene.collection.objects.link(bpy.data.objects.new("Volume", volume))


def blend_cachefile(path: str) -> None:
    import bpy

    obj = scenes.add_cube()
    bpy.ops.cachefile.open(filepath=path)
    modifier = obj.modifiers.new("Cache", "MESH_SEQUENCE_CACHE")
    modifier.cache_file = bpy.data.cache_files[0]
    modifier.object_path = "/Mesh/Mesh"


def blend_meshcache(path: str) -> None:
    modifier = scenes.add_cube().modifiers.new("Cache", "MESH_CACHE")
    modifier.filepath = path


def blend_light(path: str) -> None:
    material, tree, _ = scenes.new_material()
    node = tree.nodes.new("ShaderNodeTexIES")
    node.mode, node.filepath = "EXTERNAL", path
    shader = tree.nodes.new("ShaderNodeEmission")
    tree.links.new(node.outputs[0], shader.inputs["Strength"])
    output = next(item for item in tree.nodes if item.type == "OUTPUT_MATERIAL")
    tree.links.new(shader.outputs[0], output.inputs[0])
    scenes.add_cube(material=material)


def blend_script(path: str) -> None:
    import bpy

    bpy.context.scene.cycles.shading_system = True
    material, tree, _ = scenes.new_material()
    node = tree.nodes.new("ShaderNodeScript")
    node.mode, node.filepath = "EXTERNAL", path
    scenes.add_cube().data.materials.append(material)


def blend_strip(path: str) -> None:
    """A film's strips are not rendered; they are read where nobody takes them out."""
    import bpy

    scenes.add_cube()
    editor = bpy.context.scene.sequence_editor_create()
    strips = editor.strips if hasattr(editor, "strips") else editor.sequences
    strips.new_image("Strip", path, 1, 1)


def blend_fluid(path: str) -> None:
    scenes.add_cube()
    modifier = scenes.add_cube(2.0).modifiers.new("Fluid", "FLUID")
    modifier.fluid_type = "DOMAIN"
    modifier.domain_settings.cache_directory = path


def blend_cloth(path: str) -> None:
    modifier = scenes.add_cube().modifiers.new("Cloth", "CLOTH")
    modifier.point_cache.use_external = True
    modifier.point_cache.filepath = path


def blend_output(path: str) -> None:
    """What renders and compositors write."""
    import bpy

    scenes.add_cube()
    scene = bpy.context.scene
    scene.render.filepath = path
    if hasattr(scene, "compositing_node_group"):
        tree = bpy.data.node_groups.new("Compositor", "CompositorNodeTree")
        scene.compositing_node_group = tree
    else:
        scene.use_nodes = True
        tree = scene.node_tree
    node = tree.nodes.new("CompositorNodeOutputFile")
    setattr(node, "base_path" if hasattr(node, "base_path") else "directory", path)


def blend_canvas(path: str) -> None:
    modifier = scenes.add_cube().modifiers.new("Paint", "DYNAMIC_PAINT")
    import bpy

    bpy.context.view_layer.objects.active = bpy.context.scene.objects[0]
    bpy.ops.dpaint.type_toggle(type="CANVAS")
    surface = modifier.canvas_settings.canvas_surfaces[0]
    surface.image_output_path = path


def import_nodes(kind: str, computed: bool = False) -> Callable[[str], None]:
    """Geometry nodes that read a file, whose path is written down or put together."""

    def blend_nodes(path: str) -> None:
        import bpy

        obj = scenes.add_cube()
        group = bpy.data.node_groups.new("Group", "GeometryNodeTree")
        group.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
        node = group.nodes.new(f"GeometryNodeImport{kind}")
        socket = next(
            item for item in node.inputs if item.bl_idname.startswith("NodeSocketString")
        )
        socket.default_value = path
        if computed:
            text = group.nodes.new("FunctionNodeInputString")
            text.string = path
            group.links.new(text.outputs[0], socket)
        result = node.outputs[0]
        if kind == "Text":
            curves = group.nodes.new("GeometryNodeStringToCurves")
            group.links.new(result, curves.inputs["String"])
            filled = group.nodes.new("GeometryNodeFillCurve")
            group.links.new(curves.outputs[0], filled.inputs[0])
            result = filled.outputs[0]
        real = group.nodes.new("GeometryNodeRealizeInstances")
        group.links.new(result, real.inputs[0])
        both = group.nodes.new("GeometryNodeJoinGeometry")
        group.links.new(real.outputs[0], both.inputs[0])
        group.links.new(group.nodes.new("GeometryNodeMeshCube").outputs[0], both.inputs[0])
        out = group.nodes.new("NodeGroupOutput")
        group.links.new(both.outputs[0], out.inputs[0])
        obj.modifiers.new("Nodes", "NODES").node_group = group

    blend_nodes.key = f"{kind} {computed}"  # type: ignore[attr-defined]
    return blend_nodes


def blend_bake(path: str) -> None:
    """A simulation's baked state."""
    import bpy

    obj = scenes.add_cube()
    group = bpy.data.node_groups.new("Group", "GeometryNodeTree")
    group.interface.new_socket("Geometry", in_out="INPUT", socket_type="NodeSocketGeometry")
    group.interface.new_socket("Geometry", in_out="OUTPUT", socket_type="NodeSocketGeometry")
    node = group.nodes.new("GeometryNodeBake")
    begin, out = group.nodes.new("NodeGroupInput"), group.nodes.new("NodeGroupOutput")
    group.links.new(begin.outputs[0], node.inputs[0])
    group.links.new(node.outputs[0], out.inputs[0])
    modifier = obj.modifiers.new("Nodes", "NODES")
    modifier.node_group = group
    bpy.context.view_layer.update()
    modifier.bake_directory = path
    for bake in modifier.bakes:
        bake.use_custom_path = True
        bake.directory = path


_NODES: Final = {
    "OBJ": "obj", "PLY": "ply", "STL": "stl", "CSV": "csv", "VDB": "vdb", "Text": "txt",
}  # fmt: skip


def carriers(templates: Templates) -> dict[str, Carrier]:
    """All kinds of references that this Blender has."""
    import bpy

    found = {
        "gltf-buffer": Carrier("gltf", "bin", lambda p, n, _: void(hostile.write_gltf(p, n))),
        "gltf-image": Carrier("gltf", "png", lambda p, n, _: void(hostile.write_gltf(p, image=n))),
        "glb-buffer": Carrier("glb", "bin", _glb_buffer),
        "glb-image": Carrier("glb", "png", _glb_image),
        "obj-library": Carrier("obj", "mtl", _obj_library),
        "obj-map": Carrier("obj", "png", _obj_map),
        "ply-comment": Carrier("ply", "png", _ply, silent=True),
        "usd-reference": Carrier(
            "usda", "usda", _usd(prim='def Xform "R" (references = @NAME@) {}')
        ),
        "usd-payload": Carrier("usda", "usda", _usd(prim='def Xform "R" (payload = @NAME@) {}')),
        "usd-sublayer": Carrier("usda", "usda", _usd(head="subLayers = [@NAME@]")),
        "usd-texture": Carrier("usda", "png", _usd()),
        "usd-volume": Carrier(
            "usda", "vdb", _usd(prim='def OpenVDBAsset "V" {\nasset filePath = @NAME@\n}')
        ),
        "usd-light": Carrier(
            "usda", "png",
            _usd(prim='def DomeLight "L" {\nasset inputs:texture:file = @@@NAME@@@\n}'),
        ),
        "usd-clips": Carrier(
            "usda", "usda",
            _usd(prim='def Xform "R" (clips = { dictionary default = '
                 '{ asset[] assetPaths = [@./a.usda@, @NAME@] } }) {}'),
        ),
        "usd-part": Carrier("usda", "png", _usd_part),
        "usd-materialx": Carrier("usda", "png", _usd_material),
        "usdz-texture": Carrier("usdz", "png", _usdz()),
        "usdz-reference": Carrier("usdz", "usda", _usdz('def Xform "R" (references = @NAME@) {}')),
        "dae-image": Carrier("dae", "png", _dae_image),
        "dae-geometry": Carrier("dae", "dae", _dae_geometry),
        "fbx-texture": Carrier("fbx", "png", templates.fbx),
    }  # fmt: skip
    kinds: dict[str, tuple[str, Callable[[str], None], bool]] = {
        "image": ("png", blend_image, False),
        "sequence": ("png", blend_sequence, False),
        "stereo": ("png", blend_stereo, False),
        "world": ("png", blend_world, True),
        "library": ("blend", blend_library, False),
        "font": ("ttf", blend_font, False),
        "sound": ("wav", blend_sound, True),
        "movie": ("png", blend_movie, True),
        "volume": ("vdb", blend_volume, False),
        "cachefile": ("abc", blend_cachefile, False),
        "meshcache": ("pc2", blend_meshcache, False),
        "light": ("ies", blend_light, False),
        "script": ("osl", blend_script, False),
        "strip": ("png", blend_strip, True),
        "fluid": ("uni", blend_fluid, True),
        "cloth": ("bphys", blend_cloth, True),
        "output": ("png", blend_output, True),
        "canvas": ("png", blend_canvas, True),
        "bake": ("bin", blend_bake, True),
    }
    for kind, wants in _NODES.items():
        if hasattr(bpy.types, f"GeometryNodeImport{kind}"):
            kinds[f"nodes-{kind.lower()}"] = wants, import_nodes(kind), False
    if hasattr(bpy.types, "GeometryNodeImportOBJ"):
        kinds["nodes-computed"] = "obj", import_nodes("OBJ", computed=True), False
    for name, (wants, fill, silent) in kinds.items():
        found[f"blend-{name}"] = Carrier(
            "blend", wants, templates.blend(wants, fill), relative="//", silent=silent
        )
    return found


def void(_: object) -> None:
    """Nothing comes of it."""


# --- What is outside --------------------------------------------------------------------------


def place_secrets(outside: Path) -> None:
    """A secret of each kind; whatever takes one shows it."""
    import bpy

    from objaverse_render_addon.blender.compat import call_operator

    image = hostile.picture(outside / "secret.png")
    _, buffer = scenes.glb_document(scenes.CUBE_VERTICES * 3, scenes.CUBE_FACES)
    (outside / "secret.bin").write_bytes(buffer)
    (outside / "secret.mtl").write_text(f"newmtl m\nKd 1 0 1\nKe 1 0 1\nmap_Kd {image}\n")
    (outside / "secret.usda").write_text(
        hostile.usd_text(prim=f'def Xform "{CANARY.replace("-", "_")}" {{}}')
    )
    for extension in ("txt", "csv", "osl", "ies", "uni", "bphys", "pc2"):
        (outside / f"secret.{extension}").write_text(f"{CANARY},1\n{CANARY},2\n")
    hostile.write_dae(outside / "secret.dae", CANARY)
    scenes.write_obj(
        outside / "secret.obj", scenes.CUBE_VERTICES * 3, scenes.CUBE_FACES, f"o {CANARY}"
    )
    corners, faces = scenes.CUBE_VERTICES * 3, scenes.triangles(scenes.CUBE_FACES)
    scenes.write_ply(outside / "secret.ply", corners, faces)
    scenes.write_stl(outside / "secret.stl", corners, faces)
    (outside / "secret.wav").write_bytes(
        b"RIFF" + struct.pack("<I", 36 + 800) + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8) + b"data"
        + struct.pack("<I", 800) + np.arange(800, dtype=np.uint8).tobytes()
    )  # fmt: skip
    font = next(Path(bpy.utils.resource_path("LOCAL"), "datafiles", "fonts").glob("*.woff2"))
    shutil.copyfile(font, outside / "secret.ttf")
    with scenes.new_blend(outside / "secret.blend"):
        scenes.add_cube(3.0, name=CANARY)
    call_operator(bpy.ops.wm.alembic_export, filepath=str(outside / "secret.abc"))
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    (outside / "secret.vdb").write_bytes(b"\x20BDV" + CANARY.encode())
    scenes.write_glb(outside / "secret.glb")
    os.mkfifo(outside / "fifo")
    # Blender keeps the last version of a file that it saves again.
    for path in outside.glob("*.blend1"):
        path.unlink()


# --- Cases ------------------------------------------------------------------------------------


def references(ground: Ground, work: Path, every: int = 1) -> Iterator[Case]:
    """Each carrier with each trick, or every so many of them, in a pattern that leaves none out."""
    templates = Templates(work, ground)
    for row, (kind, carrier) in enumerate(carriers(templates).items()):
        for column, (trick, spell) in enumerate(TRICKS.items()):
            if (5 * row + column) % every:
                continue
            name = f"{kind}-{trick}"
            home = ground.inside / name
            home.mkdir()
            path = home / f"{name}.{carrier.extension}"
            reference = spell(ground, home, carrier.wants)
            if not reference.startswith(("/", "\\", "file:", "http:")):
                reference = carrier.relative + reference
            carrier.write(path, reference, column)
            yield Case(
                name, str(path),
                silent=carrier.silent or trick not in _LEADS_OUT,
                portable=trick not in _HERE_ALONE,
            )  # fmt: skip


def particular(ground: Ground) -> Iterator[Case]:
    """What is a trick of one format alone."""
    import bpy

    from objaverse_render_addon.blender.compat import call_operator

    def place(name: str, extension: str) -> Path:
        (ground.inside / name).mkdir()
        return ground.inside / name / f"{name}.{extension}"

    path = place("dae-entity", "dae")
    head = f'<!DOCTYPE COLLADA [<!ENTITY x SYSTEM "file://{ground.secret("txt")}">]>'
    hostile.write_dae(path, "&x;", head)
    yield Case("dae-entity", str(path))
    path = place("usdc-texture", "usdc")
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    blend_image(str(ground.secret("png")))
    call_operator(
        bpy.ops.wm.usd_export, filepath=str(path), relative_paths=False, export_textures=False,
        export_textures_mode="KEEP", convert_world_material=False,
    )  # fmt: skip
    yield Case("usdc-texture", str(path))
    # A library of its own, which has one that is not.
    path = place("blend-deep", "blend")
    for file, library in ((path.with_name("near.blend"), ground.secret("blend")),
                          (path, path.with_name("near.blend"))):  # fmt: skip
        with scenes.new_blend(file):
            blend_library(str(library))
    yield Case("blend-deep", str(path))


_FORMATS: Final = (
    "glb", "gltf", "obj", "fbx", "dae", "usd", "usda", "usdc", "usdz", "blend", "ply", "stl", "abc",
)  # fmt: skip


def sources(ground: Ground) -> Iterator[Case]:
    """Files that are none: pipes, devices, what the system says of itself, and too much of it."""
    for extension in _FORMATS:
        for what in ("pipe", "device", "environ", "huge"):
            name = f"source-{extension}-{what}"
            home = ground.inside / name
            home.mkdir()
            path = home / f"{name}.{extension}"
            if what == "pipe":
                os.mkfifo(path)
            elif what == "huge":
                with path.open("wb") as file:
                    file.truncate(9 << 30)
            else:
                path.symlink_to("/dev/zero" if what == "device" else "/proc/self/environ")
            yield Case(name, str(path), portable=False)


def _zip(path: Path, name: str, data: bytes, mode: int = 0) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        archive.writestr(info, data)


def packages(ground: Ground) -> Iterator[Case]:
    """Archives whose members lead out, are links, or are far larger than they look."""
    layer = hostile.usd_text().encode()
    up = f"../../{ground.outside.name}"
    members = {
        "dotdot": f"{up}/made.usda", "absolute": str(ground.outside / "made.usda"),
        "backslash": f"{up}/made.usda".replace("/", "\\"), "drive": r"C:\made.usda",
        "hidden": ".git/made.usda",
    }  # fmt: skip
    for trick, member in members.items():
        name = f"usdz-member-{trick}"
        path = ground.inside / name / f"{name}.usdz"
        path.parent.mkdir()
        # One that has to be copied, so that its members are written.
        text = hostile.usd_text(str(ground.secret("png")))
        hostile.write_usdz(path, text, **{member: layer})
        yield Case(name, str(path))
    for trick in ("bomb", "many"):
        name = f"usdz-{trick}"
        path = ground.inside / name / f"{name}.usdz"
        path.parent.mkdir()
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            if trick == "bomb":
                with archive.open("root.usda", "w", force_zip64=True) as file:
                    for _ in range(600):
                        file.write(bytes(1 << 20))
            else:
                for index in range(20_000):
                    archive.writestr(f"{index}.usda", b"")
        yield Case(name, str(path))
    home = ground.inside / "archives"
    home.mkdir()
    glb = (ground.outside / "secret.glb").read_bytes()
    for trick, member in {**members, "plain": "made.glb"}.items():
        member = member.replace(".usda", ".glb")
        file = home / f"{trick}.zip"
        _zip(file, member, glb)
        if trick != "plain":
            source = f"zip://{member}::file://{file}"
            # What is in it may come out of it, under a name of its own.
            yield Case(f"zip-{trick}", source, silent=True, portable=False)
    _zip(home / "link.zip", "link.glb", str(ground.outside / "secret.glb").encode(), 0o120777)
    yield Case("zip-link", f"zip://link.glb::file://{home / 'link.zip'}", portable=False)
    for kind, what in {
        "symlink": tarfile.SYMTYPE, "hardlink": tarfile.LNKTYPE, "fifo": tarfile.FIFOTYPE,
        "device": tarfile.CHRTYPE,
    }.items():  # fmt: skip
        with tarfile.open(home / f"{kind}.tar", "w") as archive:
            info = tarfile.TarInfo(f"{kind}.glb")
            info.type = what
            info.linkname = str(ground.outside / "secret.glb")
            archive.addfile(info)
        source = f"tar://{kind}.glb::file://{home / f'{kind}.tar'}"
        yield Case(f"tar-{kind}", source, portable=False)


def addresses(ground: Ground) -> Iterator[tuple[str, str]]:
    """Sources that no list may have."""
    reference = ground.inside / "reference.json"
    command = f"touch {ground.outside / 'ran'}"
    template = "{{ cycler.__init__.__globals__.os.system('" + command + "') }}"
    reference.write_text(
        json.dumps({"version": 1, "gen": [{"key": template, "url": "x", "dimensions": {"i": [1]}}],
                    "refs": {"x.glb": [str(ground.secret("glb"))]}})
    )  # fmt: skip
    file, web = f"file://{reference}", f"http://{ground.server}"
    yield from {
        "reference": f"reference://x.glb::{file}",
        "reference-case": f"ReFeReNcE://x.glb::{file}",
        "reference-inner": f"zip://x.glb::reference://x.zip::{file}",
        "reference-word": f"simplecache::reference::{file}",
        "generic": f"generic://{web}/x.glb",
        "blockcache": f"blockcache::{web}/x.glb",
        "jupyter": f"jupyter://{ground.server}/x.glb",
        "git": f"git://{ground.server}/x.glb",
        "asynclocal": f"asynclocal://{ground.secret('glb')}",
        "data": "data://text/plain,x.glb",
        "python": "python://os.system/x.glb",
        "root": f"root://{ground.server}//x.glb",
        "unc": r"\\127.0.0.1\share\x.glb",
        "zero": "/dev/zero",
        "environ": "/proc/self/environ",
        "fifo": str(ground.outside / "fifo"),
        "escape": "\x1b]0;owned\x07.glb",
    }.items()


def lists(ground: Ground) -> Iterator[Path]:
    """All addresses, in each format that lists have."""
    rows = [address for _, address in addresses(ground)]
    for extension in ("txt", "csv", "json", "jsonl", "parquet"):
        path = ground.inside / f"list.{extension}"
        if extension == "txt":
            path.write_text("\n".join(rows) + "\n")
        elif extension == "csv":
            text = io.StringIO()
            csv.writer(text).writerows([["path"], *([row] for row in rows)])
            path.write_text(text.getvalue())
        elif extension == "json":
            path.write_text(json.dumps(rows))
        elif extension == "jsonl":
            path.write_text("".join(json.dumps({"url": row}) + "\n" for row in rows))
        else:
            try:
                import pyarrow
                import pyarrow.parquet
            except ImportError:
                continue
            pyarrow.parquet.write_table(pyarrow.table({"url": rows}), path)
        yield path


def neighbours(folder: Path) -> list[Path]:
    """Good assets of several formats, to stand between the others."""
    folder.mkdir()
    image = hostile.picture(folder / "good.png", (20, 160, 60)).name
    found = [
        scenes.write_glb(folder / "good-glb.glb", change=hostile.textured(image)),
        hostile.write_obj(folder / "good-obj.obj", "good-obj.mtl", f"map_Kd {image}"),
        folder / "good-usd.usda",
        folder / "good-blend.blend",
    ]
    found[2].write_text(hostile.usd_text(image))
    with scenes.new_blend(found[3]):
        _shown(_file_image(f"//{image}"))
    return found
