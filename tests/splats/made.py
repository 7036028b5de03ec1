"""Fields with a seed, and the plainest way to draw one."""

from __future__ import annotations

import numpy as np

from objaverse_render_addon.cameras import Camera, Rig, intrinsics_of, look_at_pose
from objaverse_render_addon.splats.field import Field


def field_of(count: int, degree: int = 3, seed: int = 1, size: float = 0.05) -> Field:
    rng = np.random.default_rng(seed)
    quaternions = rng.normal(size=(count, 4))
    harmonics = rng.normal(size=(count, (degree + 1) ** 2, 3)) * 0.4
    return Field(
        *(
            array.astype(np.float32)
            for array in (
                rng.uniform(-0.5, 0.5, (count, 3)),
                size * np.exp(rng.normal(size=(count, 3)) * 0.6),
                quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True),
                rng.uniform(0.002, 1, count),
                harmonics,
            )
        )
    )


def camera_at(azimuth: float, size: tuple[int, int] = (83, 61), radius: float = 1.4) -> Camera:
    lens = intrinsics_of("perspective", 52.0, size, 1.0, (0.04, -0.03))
    return Camera(*size, lens, look_at_pose(azimuth, 25.0, radius, Rig()))


def drawn_plainly(field: Field, camera: Camera) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every Gaussian on every pixel, in float64, from the paper's matrices."""
    to_camera = camera.world_to_camera_opencv
    rotation = to_camera[:3, :3]
    points = field.means @ rotation.T + to_camera[:3, 3]
    (fx, _, cx), (_, fy, cy), _ = camera.intrinsics
    wide, high, beyond = camera.width, camera.height, np.array([-0.15, 0.15])
    x_limits = (np.array([-cx, wide - cx]) + beyond * wide) / fx
    y_limits = (np.array([-cy, high - cy]) + beyond * high) / fy
    v, u = np.mgrid[: camera.height, : camera.width] + 0.5
    color = np.zeros((*u.shape, 3))
    depth, through = np.zeros(u.shape), np.ones(u.shape)
    done = np.zeros(u.shape, bool)
    for n in np.argsort(points[:, 2], kind="stable"):
        x, y, z = points[n]
        if z <= 0.01:
            continue
        w, a, b, c = field.rotations[n].astype(float)
        k = np.array([[0, -c, b], [c, 0, -a], [-b, a, 0]])
        turn = np.eye(3) + 2 * w * k + 2 * k @ k
        spread = turn @ np.diag(field.scales[n].astype(float) ** 2) @ turn.T
        sx, sy = np.clip(x / z, *x_limits), np.clip(y / z, *y_limits)
        jacobian = np.array([[fx / z, 0, -fx * sx / z], [0, fy / z, -fy * sy / z]])
        flat = jacobian @ rotation @ spread @ rotation.T @ jacobian.T + 0.3 * np.eye(2)
        offset = np.stack([u - (fx * x / z + cx), v - (fy * y / z + cy)], axis=-1)
        power = np.einsum("hwi,ij,hwj->hw", offset, np.linalg.inv(flat), offset)
        alpha = field.opacities[n] * np.exp(-0.5 * power)
        alpha = np.where(alpha < 1 / 255, 0, np.minimum(alpha, 0.99))
        done |= (through * (1 - alpha) < 1e-4) & (alpha > 0)
        weight = np.where(done, 0, through * alpha)
        direction = field.means[n] - camera.camera_to_world[:3, 3]
        color += weight[..., None] * np.maximum(
            0.5 + harmonic(direction / np.linalg.norm(direction), field.harmonics[n]), 0
        )
        depth += weight * z
        through -= weight
    alpha = 1 - through
    return color, alpha, np.where(alpha > 0, depth / np.maximum(alpha, 1e-12), 0)


def harmonic(direction: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """Real spherical harmonics from their definition by associated Legendre functions."""
    from math import factorial, pi, sqrt

    x, y, z = direction
    azimuth = np.arctan2(y, x)
    sin, cos = np.hypot(x, y), z
    legendre = {
        (0, 0): 1, (1, 0): cos, (1, 1): -sin, (2, 0): (3 * cos**2 - 1) / 2,
        (2, 1): -3 * cos * sin, (2, 2): 3 * sin**2, (3, 0): (5 * cos**3 - 3 * cos) / 2,
        (3, 1): -1.5 * (5 * cos**2 - 1) * sin, (3, 2): 15 * cos * sin**2, (3, 3): -15 * sin**3,
    }  # fmt: skip
    total, at = np.zeros(3), 0
    for degree in range(int(sqrt(len(coefficients)))):
        for order in range(-degree, degree + 1):
            m = abs(order)
            norm = sqrt(
                (2 * degree + 1) / (4 * pi) * factorial(degree - m) / factorial(degree + m)
            )
            value = norm * legendre[degree, m]
            if order > 0:
                value *= sqrt(2) * np.cos(m * azimuth)
            if order < 0:
                value *= sqrt(2) * np.sin(m * azimuth)
            total += value * coefficients[at]
            at += 1
    return total
