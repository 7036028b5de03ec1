import json

import pytest

from objaverse_render_addon.compose.record import (
    Color,
    Contact,
    Scene,
    SceneObject,
    SceneView,
    StagePart,
    Support,
    ViewObject,
)
from objaverse_render_addon.errors import WrongFormat

EYE = ((1.0, 0.0, 0.0, 0.1), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))


def scene():
    mug = SceneObject(
        1, "mug", "mug", "parametric:mug", "CC0-1.0", (0.1, 0.08, 0.1), "parametric",
        Color("red", (0.8, 0.1, 0.1)), ("ceramic",), EYE, ((0.0, 0.0, 0.0), (0.1, 0.0, 0.0)), True,
        1e-4, 0.0, (Contact(0, (0.0, 0.0, 1.0), 1.0),), (0, 1), 0.1,
    )
    seen = ViewObject(1, 10, 20, 0.5, 0.9, (1, 2, 3, 4), {"red": 1.0}, {"red": 0.9}, 0.0)
    return Scene(
        7, 3, "grid", Support("table", (1.0, 0.7, 0.04), "wood"), (mug,), (StagePart(2, "table"),),
        (SceneView(0, (seen,)),), {"light": {"sun": 2.0}},
    )


def test_what_is_written_is_read(tmp_path):
    scene().write(tmp_path / "scene.json")
    assert Scene.read(tmp_path / "scene.json") == scene()
    data = json.loads((tmp_path / "scene.json").read_text())
    assert data["objects"][0]["contacts"] == [{"with": 0, "normal": [0, 0, 1], "share": 1.0}]
    assert data["objects"][0]["settled"] == {"tilt_deg": 0.0}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda data: data.update(version=2), "no scene of version"),
        (lambda data: data["objects"][0].pop("pose"), "pose"),
        (lambda data: data["objects"][0].update(id=2), "not 1, 2, 3"),
        (lambda data: data["objects"][0]["pose"][0].__setitem__(0, float("nan")), "finite"),
        (lambda data: data["objects"][0]["contacts"][0].update({"with": 9}), "not there"),
        (lambda data: data["views"][0]["objects"][0].update(visible_pixels=21), "more of object"),
        (lambda data: data.update(layout="pile"), "layout"),
    ],
)
def test_what_cannot_be_is_refused(change, says):
    data = json.loads(scene().to_json())
    change(data)
    with pytest.raises(WrongFormat, match=says):
        Scene.from_dict(data)
