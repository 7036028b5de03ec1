// A camera that hands move: a pose (camera to world, OpenGL axes, row by row), a lens, a pivot.
// World Z is up.

export const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
export const plus = (a, b, k = 1) => [a[0] + k * b[0], a[1] + k * b[1], a[2] + k * b[2]];
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
const unit = (a) => { const n = Math.hypot(...a) || 1; return a.map((x) => x / n); };

// Rodrigues: a vector turned around an axis of unit length.
function turned(v, axis, angle) {
  const c = Math.cos(angle), s = Math.sin(angle), k = dot(axis, v) * (1 - c), x = cross(axis, v);
  return [0, 1, 2].map((i) => v[i] * c + x[i] * s + axis[i] * k);
}

export class Motion {
  constructor(center, radius) {
    this.center = center;
    this.radius = radius;
    this.width = this.height = 64;
    this.home();
  }

  home() {
    const a = (-60 * Math.PI) / 180, e = (22 * Math.PI) / 180, far = (this.radius * Math.max(1, this.height / this.width)) / Math.sin((20 * Math.PI) / 180);
    const away = [Math.cos(e) * Math.cos(a), Math.cos(e) * Math.sin(a), Math.sin(e)];
    this.fov = 40;  // Degrees, vertical.
    this.lens = null;
    this.pivot = [...this.center];
    this.right = [-Math.sin(a), Math.cos(a), 0];
    this.back = away;
    this.up = cross(this.back, this.right);
    this.position = plus(this.pivot, away, far);
  }

  get distance() { return Math.max(dot(plus(this.position, this.pivot, -1), this.back), 1e-3 * this.radius); }

  // By shares of the picture's height.
  turn(dx, dy, own) {
    const yaw = -dx * Math.PI, pitch = -dy * Math.PI, k = own ? 0.4 : 1;
    const z = [0, 0, 1], at = own ? this.position : this.pivot;
    const steep = Math.asin(Math.max(-1, Math.min(1, this.back[2]))), limit = 1.55;
    const wanted = Math.max(-limit, Math.min(limit, steep - pitch * k)) - steep;
    let arm = plus(this.position, at, -1);
    for (const [axis, angle] of [[this.right, -wanted], [z, yaw * k]]) {
      this.right = turned(this.right, axis, angle);
      this.up = turned(this.up, axis, angle);
      this.back = turned(this.back, axis, angle);
      arm = turned(arm, axis, angle);
    }
    this.straighten();
    this.position = plus(at, arm);
    if (own) this.pivot = plus(this.position, this.back, -Math.hypot(...plus(this.pivot, this.position, -1)));
  }

  straighten() {
    this.back = unit(this.back);
    this.right = unit(plus(this.right, this.back, -dot(this.right, this.back)));
    this.up = cross(this.back, this.right);
  }

  pan(dx, dy) {
    const scale = this.distance * 2 * Math.tan((this.fov * Math.PI) / 360);
    for (const [axis, by] of [[this.right, -dx], [this.up, dy]]) {
      this.position = plus(this.position, axis, by * scale);
      this.pivot = plus(this.pivot, axis, by * scale);
    }
  }

  nearer(factor) {
    const arm = plus(this.position, this.pivot, -1), far = Math.hypot(...arm) * factor;
    if (far > 1e-3 * this.radius && far < 1e3 * this.radius) this.position = plus(this.pivot, arm, factor);
  }

  walk(right, up, forward) {
    for (const [axis, by] of [[this.right, right], [this.up, up], [this.back, -forward]]) {
      this.position = plus(this.position, axis, by * this.radius);
      this.pivot = plus(this.pivot, axis, by * this.radius);
    }
  }

  // One of the data set's cameras, to the last digit.
  jump(camera) {
    const m = camera.camera_to_world;
    this.right = [m[0], m[4], m[8]]; this.up = [m[1], m[5], m[9]]; this.back = [m[2], m[6], m[10]];
    this.position = [m[3], m[7], m[11]];
    const far = dot(plus(this.position, this.center, -1), this.back);
    this.pivot = plus(this.position, this.back, -Math.max(far, 0.1 * this.radius));
    this.fov = (2 * Math.atan(camera.height / 2 / camera.intrinsics[4]) * 180) / Math.PI;
    this.lens = camera;
  }

  camera() {
    const [r, u, b, p] = [this.right, this.up, this.back, this.position];
    const pose = [r[0], u[0], b[0], p[0], r[1], u[1], b[1], p[1], r[2], u[2], b[2], p[2], 0, 0, 0, 1];
    if (this.lens) {
      const { width, height, intrinsics } = this.lens;
      return { width, height, intrinsics, camera_to_world: pose };
    }
    const f = (0.5 * this.height) / Math.tan((this.fov * Math.PI) / 360);
    return {
      width: this.width, height: this.height, camera_to_world: pose,
      intrinsics: [f, 0, this.width / 2, 0, f, this.height / 2, 0, 0, 1],
    };
  }
}

// Where a camera sees a point: [u, v, depth].
export function seen(camera, point) {
  const m = camera.camera_to_world, k = camera.intrinsics, d = [point[0] - m[3], point[1] - m[7], point[2] - m[11]];
  const x = m[0] * d[0] + m[4] * d[1] + m[8] * d[2], y = m[1] * d[0] + m[5] * d[1] + m[9] * d[2];
  const z = -(m[2] * d[0] + m[6] * d[1] + m[10] * d[2]);
  return [(k[0] * x) / z + k[2], (-k[4] * y) / z + k[5], z];
}

// A camera's apex and the corners of its picture at a depth, in the world.
export function frustum(camera, depth) {
  const m = camera.camera_to_world, k = camera.intrinsics, w = camera.width, h = camera.height;
  const apex = [m[3], m[7], m[11]];
  const corners = [[0, 0], [w, 0], [w, h], [0, h]].map(([u, v]) => {
    const x = ((u - k[2]) / k[0]) * depth, y = (-(v - k[5]) / k[4]) * depth, z = -depth;
    return [0, 1, 2].map((i) => m[4 * i] * x + m[4 * i + 1] * y + m[4 * i + 2] * z + m[4 * i + 3]);
  });
  return [apex, ...corners];
}
