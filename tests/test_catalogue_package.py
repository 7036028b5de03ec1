"""The real ``objaverse`` package and the catalogue find each other's annotation files."""

from __future__ import annotations

from pathlib import Path

import made_up_annotations as made_up
from objaverse_server import Server
from test_objaverse_package import home, package, pytestmark, server  # noqa: F401 (fixtures)

from objaverse_render_addon.assets.annotations import LVIS
from objaverse_render_addon.assets.catalogue import Catalogue

RECORDS = list(made_up.many(160))


def serve(server: Server) -> None:  # noqa: F811
    for name, content in made_up.shards(RECORDS).items():
        server.files[name] = made_up.packed(content)
        for uid in content:
            server.list(uid, f"glbs/{Path(name).name[:7]}/{uid}.glb")
    server.files[LVIS] = made_up.packed({"chair": [RECORDS[0]["uid"]]})


def test_what_the_package_fetched_is_not_fetched_again(server: Server, home: Path):  # noqa: F811
    serve(server)
    uid = RECORDS[5]["uid"]
    expression = f"[list(objaverse.load_annotations([{uid!r}])), objaverse.load_lvis_annotations()]"
    assert package(server, home, expression) == [[uid], {"chair": [RECORDS[0]["uid"]]}]
    server.asked.clear()
    with Catalogue.ready(home / ".objaverse", server.endpoint) as catalogue:
        assert catalogue.objects == len(RECORDS)
        assert catalogue.lvis_categories() == {"chair": 1}
    # One of the 160 files and the LVIS file were there.
    assert len(server.asked) == 159


def test_what_the_catalogue_fetched_the_package_reads(server: Server, home: Path):  # noqa: F811
    serve(server)
    Catalogue.ready(home / ".objaverse", server.endpoint).close()
    server.asked.clear()
    found = package(server, home, "{u: r['name'] for u, r in objaverse.load_annotations().items()}")
    assert found == {record["uid"]: record["name"] for record in RECORDS}
    assert [name for name, _ in server.asked] in ([], ["object-paths.json.gz"])
