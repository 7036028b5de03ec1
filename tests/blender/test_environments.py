"""Environments through Gymnasium, in real Blenders."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium")

from gymnasium.utils.env_checker import check_env  # noqa: E402

from objaverse_render_addon import live  # noqa: E402
from objaverse_render_addon.errors import (  # noqa: E402
    AccessRefused,
    ConnectionLost,
    InvalidJob,
    MissingDependency,
    UnexpectedError,
)
from objaverse_render_addon.live import look_at  # noqa: E402
from objaverse_render_addon.live.env import (  # noqa: E402
    Environment,
    VectorEnvironment,
    register,
    register_all,
    watch,
)
from objaverse_render_addon.live.server import Server  # noqa: E402

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="memory that is handed down")
HERE = str(Path(__file__).parent / "env_scenes")
STILL = {"by": 1, "push": np.zeros(3, np.float32)}


@pytest.fixture(autouse=True)
def known(monkeypatch):
    monkeypatch.syspath_prepend(HERE)
    register_all()


def many(count, by=1, **push):
    at = np.zeros((count, 3), np.float32)
    for name, rows in push.items():
        at[rows, {"raises": 0, "dies": 1, "hangs": 2}[name]] = 1
    return {"by": np.full(count, by), "push": at}


class InThisProcess(gymnasium.Env):
    """The scene of tests alone, as one writes an environment by hand."""

    def __init__(self, limit):
        import scenes_of_tests

        self.scene, self.limit = scenes_of_tests.Counter(), limit
        spaces = gymnasium.spaces
        self.observation_space = spaces.Dict(
            count=spaces.Box(0, 1000, (2,), np.int64), start=spaces.Box(0, 1, (1,), np.float64)
        )
        self.action_space = spaces.Dict(
            by=spaces.Discrete(4), push=spaces.Box(-1, 1, (3,), np.float32)
        )

    def reset(self, *, seed=None, options=None):
        if seed is not None:
            self.rng = np.random.default_rng(seed)
        self.number = 0
        return self.arrays(self.scene.reset(self.rng)), {"step": 0}

    def arrays(self, seen):
        return {name: np.array(one, self.observation_space[name].dtype)
                for name, one in seen.items()}

    def step(self, action):
        self.number += 1
        seen, reward, ended, told = self.scene.step(action)
        cut = not ended and self.number >= self.limit
        return self.arrays(seen), reward, ended, cut, {**told, "step": self.number}


@pytest.mark.core
def test_the_cart_pole_is_gymnasiums():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of its spaces without bounds, which are meant.
        with gymnasium.make("objaverse_render/CartPole-v0", render_mode="rgb_array") as env:
            check_env(env.unwrapped, skip_render_check=True)
            # The same equations as in Gymnasium's own, which has another of its own random numbers.
            theirs = gymnasium.make("CartPole-v1").unwrapped
            theirs.reset(seed=1)
            observation, info = env.reset(seed=7)
            assert info["seed"] == 7
            theirs.state = np.array(observation, dtype=np.float64)
            actions = np.random.default_rng(0).integers(2, size=60)
            for number, action in enumerate(actions, 1):
                observation, reward, ended, cut, info = env.step(action)
                wanted, _, over, _, _ = theirs.step(int(action))
                np.testing.assert_allclose(observation, wanted, atol=2e-6)
                assert (reward, ended, cut, info["step"]) == (1.0, over, False, number)
                assert type(ended) is bool and type(reward) is float
                if ended:
                    break
            assert ended
            picture = env.render()
            assert picture.shape == (160, 320, 3) and picture.dtype == np.uint8
            # The cart is blue, and where it was said to be: a metre is 55 pixels there.
            blue = (picture[..., 2].astype(int) - picture[..., 0]) > 40
            middle = blue.nonzero()[1].mean()
            focal = 80 / np.tan(np.radians(16))
            assert abs(middle - (160 + focal * observation[0] / 5)) < 4


def test_one_user_scene():
    env = Environment("scenes_of_tests:Counter", options={"end": 5}, max_episode_steps=4)
    try:
        with pytest.raises(gymnasium.error.ResetNeeded):
            env.step(STILL)
        first, info = env.reset(seed=3)
        again, _ = env.reset(seed=3)
        other, info_other = env.reset()
        assert first["start"] == again["start"] == np.random.default_rng(3).random()
        assert other["start"] != first["start"] and "seed" not in info_other
        assert info == {"seed": 3, "step": 0}
        for by, total, reward, ended, cut in ((1, 1, 0.5, False, False), (0, 1, 0, False, False),
                                              (3, 4, 1.5, False, False), (0, 4, 0, False, True)):
            found = env.step({"by": by, "push": np.zeros(3, np.float32)})
            assert found[0]["count"].tolist() == [total, 2 * total]
            assert found[1:4] == (reward, ended, cut)
            assert found[4]["count"] == total
        env.reset()
        assert env.step({"by": 3, "push": np.zeros(3, np.float32)})[2] is False
        assert env.step({"by": 2, "push": np.zeros(3, np.float32)})[2] is True
        # What is said wrong is said by name, and the environment stays.
        env.reset()
        for wrong in (1, {"by": 7, "push": [0, 0, 0]}, {"by": 1.5, "push": [0, 0, 0]},
                      {"by": 1, "push": [0, 0]}, {"by": 1, "push": [0, 0, np.nan]}):
            with pytest.raises(InvalidJob):
                env.step(wrong)
        with pytest.raises(UnexpectedError, match="pushed too hard") as caught:
            env.step({"by": 1, "push": np.array([1, 0, 0], np.float32)})
        assert "scenes_of_tests.py" in caught.value.log
        env.reset()
        assert env.step(STILL)[0]["count"].tolist() == [1, 2]
    finally:
        env.close()
        env.close()
    with pytest.raises(InvalidJob):
        env.reset()


def test_pictures_show_the_step_that_they_came_with():
    env = VectorEnvironment("scenes_of_tests:Cubes", 2, render_mode="depth", copy=False)
    try:
        first, _ = env.reset(seed=0)
        kept = first["depth"].copy()
        for step in range(1, 4):
            seen, *_ = env.step(np.array([1, 0]))
            # The cube's top is a unit nearer each time, in the first alone.
            middle = seen["depth"][:, 12, 16, 0]
            np.testing.assert_allclose(middle, [9 - step, 9], rtol=1e-5)
            np.testing.assert_array_equal(seen["top"], np.float32([step + 1, 1]))
            assert (seen["depth"][:, 0, 0] == 0).all()
            assert (seen["rgb"][:, 0, 0] == [0, 0, 255]).all()
            red = seen["rgb"][:, 12, 16].astype(int)
            assert (red[:, 0] > 80).all() and (red[:, 2] < red[:, 0]).all()
            if step == 1:  # What was given before stays until the second step.
                np.testing.assert_array_equal(first["depth"], kept)
        drawn = env.render()
        np.testing.assert_allclose([one[15, 20] for one in drawn], [6, 9], rtol=1e-5)
        assert drawn[0].shape == (30, 40) and drawn[0].dtype == np.float32
        aside = look_at((10, 0, 0), size=(40, 30), fov=40)
        np.testing.assert_allclose(env.crew.seen(1, aside)[1][15, 20], 9, rtol=1e-5)
    finally:
        env.close()


@pytest.mark.core
def test_blenders_physics_fall_as_newton_says():
    env = Environment("scenes_of_tests:Falling", timeout=30)
    try:
        paths = []
        for _ in range(2):
            start, _ = env.reset(seed=4)
            heights = [start[2]] + [env.step(0)[0][2] for _ in range(30)]
            paths.append(heights)
            assert start[:2].tolist() == [1, 2]
        # Half a second: 9.81 t² / 2, by small steps of Euler's, which are ahead by less than 5 %.
        fallen = paths[0][0] - paths[0][-1]
        assert abs(fallen / (9.81 * 0.5**2 / 2) - 1) < 0.06
        assert (np.diff(paths[0]) <= 0).all()
        np.testing.assert_allclose(paths[0], paths[1], atol=1e-6)
    finally:
        env.close()
    with pytest.raises(InvalidJob, match="as many"):
        VectorEnvironment("scenes_of_tests:Falling", 3, workers=2)


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_many_are_as_gymnasiums_own_vector_of_one_each(mode):
    count, steps = 4, 30
    rng = np.random.default_rng(1)
    plan = [{"by": rng.integers(4, size=count), "push": np.zeros((count, 3), np.float32)}
            for _ in range(steps)]
    ours = VectorEnvironment(
        "scenes_of_tests:Counter", count, workers=1 + (mode == "NextStep"), autoreset_mode=mode,
        max_episode_steps=7,
    )
    theirs = gymnasium.vector.SyncVectorEnv(
        [lambda: InThisProcess(7)] * count,
        autoreset_mode=mode,
    )
    try:
        assert ours.metadata["autoreset_mode"] == gymnasium.vector.AutoresetMode(mode)
        assert ours.single_observation_space == theirs.single_observation_space
        assert ours.observation_space == theirs.observation_space
        seen, _ = ours.reset(seed=5)
        wanted, _ = theirs.reset(seed=5)
        for name in seen:
            np.testing.assert_array_equal(seen[name], wanted[name])
        ends = 0
        for actions in plan:
            found, other = ours.step(actions), theirs.step(actions)
            for name in seen:
                np.testing.assert_array_equal(found[0][name], other[0][name])
                assert found[0][name].dtype == other[0][name].dtype
            for mine, its in zip(found[1:4], other[1:4], strict=True):
                np.testing.assert_array_equal(mine, its)
                assert mine.dtype == its.dtype
            np.testing.assert_array_equal(found[4]["step"], other[4]["step"])
            ends += int((found[2] | found[3]).sum())
            if mode == "SameStep" and (found[2] | found[3]).any():
                over = found[2] | found[3]
                np.testing.assert_array_equal(found[4]["_final_obs"], over)
                np.testing.assert_array_equal(
                    found[4]["final_info"]["count"][over], other[4]["final_info"]["count"][over]
                )
                for mine, its in zip(found[4]["final_obs"][over], other[4]["final_obs"][over],
                                     strict=True):
                    np.testing.assert_array_equal(mine["count"], its["count"])
        assert ends > 8
    finally:
        ours.close()
        theirs.close()


def test_a_dead_blender_is_a_truncated_episode():
    env = VectorEnvironment("scenes_of_tests:Counter", 4, workers=2, timeout=2)
    try:
        env.reset(seed=2)
        before, *_ = env.step(many(4, 2))
        seen, rewards, ended, cut, info = env.step(many(4, 1, dies=[1]))
        # What both of its process showed before; the other process went on.
        np.testing.assert_array_equal(seen["count"][:, 0], [2, 2, 3, 3])
        np.testing.assert_array_equal(seen["start"], before["start"])
        assert cut.tolist() == [True, True, False, False] and not ended.any()
        assert rewards.tolist() == [0, 0, 0.5, 0.5]
        assert info["restarted"].tolist() == cut.tolist() and "SIGKILL" in info["error"][0]
        seen, rewards, _, cut, info = env.step(many(4, 1))
        np.testing.assert_array_equal(seen["count"][:, 0], [0, 0, 4, 4])
        assert not cut.any() and info["step"].tolist() == [0, 0, 3, 3]
        assert env.crew.restarts == 1
        # One that hangs.
        cut, info = env.step(many(4, hangs=[0]))[3:]
        assert cut.tolist() == [True, True, False, False] and info["restarted"][0]
        seen = env.step(many(4, 3))[0]
        np.testing.assert_array_equal(seen["count"][:, 0], [0, 0, 8, 8])
    finally:
        pids = env.crew.pids
        env.close()
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_a_server_has_them_as_if_they_were_here(tmp_path):
    scene, cubes = "scenes_of_tests:Counter", "scenes_of_tests:Cubes"
    with live.start(2, device="cpu") as pool:
        server = Server(
            pool, [f"unix:{tmp_path}/socket", "tcp://127.0.0.1:0"], keys=tmp_path / "keys",
            modules=["scenes_of_tests"],
        )  # fmt: skip
        address, tcp = server.addresses
        here = VectorEnvironment(scene, 2, options={"end": 4}, max_episode_steps=6)
        there = VectorEnvironment(
            scene, 2, options={"end": 4}, max_episode_steps=6, address=address
        )
        with gymnasium.make(
            "objaverse_render/Scene-v0", scene=cubes, render_mode="rgb_array",
            address=tcp, key=server.keys[-1][2],
        ) as seen:  # fmt: skip
            tops = [seen.reset(seed=0)[0]["depth"].max(), seen.step(1)[0]["depth"].max()]
            assert tops == pytest.approx([9, 8], rel=1e-5)
            assert seen.render()[15, 20].tolist()[0] > 100 and seen.render().shape == (30, 40, 3)
            # Two processes are all that there are.
            with pytest.raises(AccessRefused, match="0 of 2 are free"):
                Environment(scene, address=address)
        try:
            both = [env.reset(seed=5) for env in (here, there)]
            for by in [None, 1, 3, 2, 0, 3, 1, 1]:
                if by is not None:
                    both = [env.step(many(2, by)) for env in (here, there)]
                (first, *rest), (second, *others) = both
                for name in first:
                    np.testing.assert_array_equal(first[name], second[name], strict=True)
                for one, other in zip(rest[:-1], others[:-1], strict=True):
                    np.testing.assert_array_equal(one, other, strict=True)
                assert rest[-1].keys() == others[-1].keys()
            before = second
            seen, _, _, cut, info = there.step(many(2, 1, dies=[0]))
            assert cut.all() and info["restarted"].all() and "SIGKILL" in info["error"][0]
            np.testing.assert_array_equal(seen["count"], before["count"])
            assert (there.step(many(2, 1))[0]["count"] == 0).all()
            with pytest.raises(UnexpectedError, match="pushed too hard"):
                there.step(many(2, raises=[0]))
            there.step(many(2, 2))
            server.close()
            seen, rewards, _, cut, info = there.step(many(2, 1))
            assert (seen["count"][:, 0] == 2).all() and cut.all() and not rewards.any()
            assert "went away" in info["error"][0]
            with pytest.raises(ConnectionLost, match="Nobody answers"):
                there.step(many(2, 1))
            with Server(pool, [address], modules=["scenes_of_tests"]):
                # It is there again.
                assert (there.reset(seed=5)[0]["count"] == 0).all()
                assert there.crew.restarts == 1
        finally:
            here.close()
            there.close()
            server.close()


def test_who_may_have_no_environments_of_a_server_is_told_why(tmp_path):
    with live.start(1, device="cpu") as pool, Server(
        pool, ["tcp://127.0.0.1:0"], keys=tmp_path / "keys", private=tmp_path / "own"
    ) as server:
        address, key = server.keys[-1][1:]
        cart = "objaverse_render_addon.environments.cart_pole:CartPole"
        with pytest.raises(AccessRefused):
            Environment(cart, address=address, key=key[:-4] + "aaaa")
        with pytest.raises(AccessRefused, match="--allow-module"):
            Environment("scenes_of_tests:Counter", address=address, key=key)
        with pytest.raises(AccessRefused, match="1 to 256"):
            VectorEnvironment(cart, 257, address=address, key=key)
        with pytest.raises(InvalidJob, match="sandbox"):
            Environment(cart, address=address, key=key, sandbox="off")
        with pytest.raises(InvalidJob, match="address"):
            Environment(cart, key=key)
    with pytest.raises(ConnectionLost, match="Nobody answers"):
        Environment(cart, address=address, key=key)


@pytest.mark.long
def test_one_dead_blender_and_same_step():
    one = Environment("scenes_of_tests:Counter")
    env = VectorEnvironment("scenes_of_tests:Counter", 2, autoreset_mode="SameStep")
    try:
        start, _ = one.reset(seed=1)
        os.kill(one.crew.pids[0], signal.SIGKILL)
        seen, reward, ended, cut, info = one.step(STILL)
        assert (reward, ended, cut, info["restarted"]) == (0.0, False, True, True)
        assert seen["start"] == start["start"]
        with pytest.raises(gymnasium.error.ResetNeeded):
            one.step(STILL)
        assert "seed" in one.reset()[1]
        assert one.step(STILL)[0]["count"][0] == 1
        os.kill(one.crew.pids[0], signal.SIGKILL)
        one.reset(seed=1)  # It begins anew at once.
        env.reset(seed=1)
        env.step(many(2, 2))
        seen, _, _, cut, info = env.step(many(2, dies=[0]))
        assert cut.all() and (seen["count"] == 0).all()
        assert [one["count"][0] for one in info["final_obs"]] == [2, 2]
        assert info["final_info"]["restarted"].all()
        assert (env.step(many(2, 1))[0]["count"][:, 0] == 1).all()
    finally:
        one.close()
        env.close()


def test_time_goes_on_in_real_time():
    env = Environment("scenes_of_tests:Counter", options={"end": 10_000}, real_time=True)
    try:
        env.reset(seed=0)
        env.step({"by": 1, "push": np.zeros(3, np.float32)})
        since, total, ticks = time.monotonic(), 0, 0
        for _ in range(4):
            time.sleep(0.15)
            _, reward, _, _, info = env.step(STILL)
            total += reward
            ticks += info["ticks"]
            assert info["ticks_left_out"] == 0 and info["ticks"] >= 7
        took = time.monotonic() - since
        # Fifty ticks a second went by, and one of each step's own.
        assert abs(ticks - 4 - 50 * took) <= 2
        assert total == ticks / 2
        time.sleep(1.5)
        info = env.step(STILL)[4]
        assert 50 <= info["ticks"] <= 52 and info["ticks_left_out"] >= 20
    finally:
        env.close()


def test_it_can_be_looked_at_while_it_runs():
    env = Environment("scenes_of_tests:Cubes", render_mode="rgb_array")
    pictures = []
    try:
        env.reset(seed=0)
        over = threading.Event()

        def from_aside():
            camera = look_at((8, 0, 8), size=(40, 30))
            while not over.is_set():
                pictures.append(env.look(camera))

        watching = threading.Thread(target=from_aside)
        watching.start()
        for step in range(1, 8):
            seen, *_ = env.step(1)
            np.testing.assert_allclose(seen["depth"][12, 16, 0], 9 - step, rtol=1e-4)
        over.set()
        watching.join()
        assert pictures and all(one.shape == (30, 40, 3) for one in pictures)
        with pytest.raises(InvalidJob, match="pixels"):
            env.look(look_at((8, 0, 8), size=(20, 20)))
        pytest.importorskip("websockets")
        with watch(env) as viewer:
            queue = viewer.panes[0].queue
            (camera,) = viewer.panes[0].cameras
            np.testing.assert_allclose(camera.camera_to_world[:3, 3], [0, 0, 10])
            queue.update_camera(camera)
            for step in range(8, 10):
                # Nobody asks again: the page follows the steps.
                until = time.monotonic() + 10
                while time.monotonic() < until:
                    picture = queue.get_image()
                    if picture is not None:
                        depth = picture.drawn.depth[15, 20]
                        if abs(depth - (10 - step)) < 1e-3:
                            break
                    time.sleep(0.01)
                assert depth == pytest.approx(10 - step, rel=1e-4)
                if step == 8:
                    env.step(1)
    finally:
        env.close()


def test_a_window_shows_each_step_until_it_is_closed(monkeypatch):
    pygame = pytest.importorskip("pygame")
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    env = Environment("scenes_of_tests:Cubes", render_mode="human")
    try:
        env.reset(seed=0)
        shown = []
        for _ in range(2):
            env.step(1)
            window = pygame.display.get_surface()
            shown.append(pygame.surfarray.array3d(window).swapaxes(0, 1))
            assert np.array_equal(shown[-1], env.unwrapped.look())
        assert not np.array_equal(*shown)
        assert env.render() is None
        pygame.event.post(pygame.event.Event(pygame.QUIT))
        for _ in range(2):
            env.step(1)
            assert not pygame.display.get_init()
        env.reset()
    finally:
        env.close()
    monkeypatch.setenv("SDL_VIDEODRIVER", "no-such-driver")
    with pytest.raises(InvalidJob, match="no display"):
        Environment("scenes_of_tests:Counter", render_mode="human")


def test_what_cannot_be_is_said_by_name(monkeypatch):
    class Local:
        pass

    for scene, words in ((Local, "module of its own"), ("nothing", "module:Class"),
                         ("no_such_module_anywhere:A", "no module")):
        with pytest.raises(InvalidJob, match=words):
            Environment(scene)
    with pytest.raises(InvalidJob, match=r"self\.seen"):
        VectorEnvironment("scenes_of_tests:Shares", 2)
    with pytest.raises(InvalidJob, match="render mode"):
        Environment("scenes_of_tests:Counter", render_mode="movie")
    with pytest.raises(AccessRefused):
        Environment("scenes_of_tests:_Hidden")
    env = Environment("scenes_of_tests:Wrong")
    try:
        for words in ("NaN", r"\(3,\)", "may be 0", r"\(\); its space"):
            with pytest.raises(InvalidJob, match=rf"Wrong\.reset\(\).*{words}"):
                env.reset(seed=0)
    finally:
        env.close()
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(MissingDependency, match="pygame"):
        Environment("scenes_of_tests:Counter", render_mode="human")


def test_a_scene_of_ones_own_has_a_name():
    import scenes_of_tests

    register("objaverse_render/Counter-v0", scenes_of_tests.Counter, options={"end": 3})
    env = gymnasium.make_vec("objaverse_render/Counter-v0", 3)
    try:
        assert isinstance(env, VectorEnvironment) and len(env.crew.pids) == 1
        env.reset(seed=1)
        assert env.step(many(3, 3))[2].all()
        seen, _ = env.reset(seed=[9, None, 9], options={"reset_mask": np.array([1, 0, 1], bool)})
        assert seen["start"][0] == seen["start"][2] and (seen["count"][:, 0] == [0, 3, 0]).all()
    finally:
        env.close()
        gymnasium.registry.pop("objaverse_render/Counter-v0")


def test_the_scene_of_the_page_runs(tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs" / "environments.md").read_text(encoding="utf-8")
    code = next(one for one in page.split("```python\n") if "class Swing" in one)
    (tmp_path / "my_module.py").write_text(code.partition("```")[0], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    register("objaverse_render/Swing-v0", "my_module:Swing")
    env = gymnasium.make("objaverse_render/Swing-v0", render_mode="rgb_array")
    try:
        first, _ = env.reset(seed=0)
        np.testing.assert_allclose(env.step(np.float32([1]))[0], first + np.float32(0.1), atol=1e-6)
        # The arm is 1 long, 4 away, under 40 degrees of 240 pixels.
        arm = (env.render()[..., 0].astype(int) - env.render()[..., 2]) > 40
        long = np.ptp(arm.nonzero()[0]) + 1
        assert abs(long - 120 / np.tan(np.radians(20)) / 3.95) < 5
    finally:
        env.close()
        gymnasium.registry.pop("objaverse_render/Swing-v0")


def test_gymnasium_finds_them_by_the_entry_point(monkeypatch):
    import tomllib
    from importlib import import_module

    project = Path(__file__).parents[2] / "pyproject.toml"
    points = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["entry-points"]
    (name, point), = points["gymnasium.envs"].items()
    module, _, function = point.partition(":")
    monkeypatch.setattr(gymnasium.envs.registration, "registry", {})
    # As Gymnasium does it for a plug-in of this name.
    with warnings.catch_warnings(), gymnasium.envs.registration.namespace(name):
        warnings.simplefilter("error")
        monkeypatch.setattr(gymnasium, "registry", gymnasium.envs.registration.registry)
        getattr(import_module(module), function)()
    found = gymnasium.envs.registration.registry
    assert {"objaverse_render/CartPole-v0", "objaverse_render/Scene-v0"} <= set(found)


def test_stable_baselines_takes_them():
    pytest.importorskip(
        "stable_baselines3", reason="NOT TESTED with Stable-Baselines3: it is not installed here"
    )
    from stable_baselines3.common.env_checker import check_env as check

    from objaverse_render_addon.live.env import for_stable_baselines

    for name in ("CartPole", "CartPolePictures", "PushBall"):
        with gymnasium.make(f"objaverse_render/{name}-v0") as env:
            check(env.unwrapped, skip_render_check=True)
    many = for_stable_baselines("objaverse_render/CartPole-v0", 4, workers=2)
    try:
        many.seed(3)
        many.reset()
        os.kill(many.many.crew.pids[0], signal.SIGKILL)
        _, _, over, infos = many.step(np.zeros(4, int))
        assert over.tolist() == [True, True, False, False]
        assert infos[0]["TimeLimit.truncated"] and infos[0]["restarted"]
        assert infos[0]["terminal_observation"].shape == (4,)
        assert not infos[3]["TimeLimit.truncated"]
    finally:
        many.close()
