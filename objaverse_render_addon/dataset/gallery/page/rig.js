"use strict";
/* The camera rig in a canvas: frusta with their true fields of view, the normalised volume, the
   object's box and points of its surface. World axes are Z up; nothing here is to any other
   scale than the dataset's. */
const rig = (() => {
  const FOV = (32 * Math.PI) / 180;
  const PITCH = 0.36;
  const ASIDE = 0.85; // from the first view, so that its camera does not hide the object
  const HALF = { cube: 1, "unit-cube": 0.5, sphere: 1 };
  const add = (a, b, s = 1) => [a[0] + b[0] * s, a[1] + b[1] * s, a[2] + b[2] * s];
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const length = (a) => Math.hypot(...a);
  // What is drawn for a lens. One that sees all around has no frustum: 90 degrees stand for it.
  const lens = (view) => {
    const [width, height] = view.size;
    const around = view.lens === "panorama" || view.lens === "fisheye";
    const half = Math.max(width, height) / 2;
    return {
      k: around ? [half, half, width / 2, height / 2] : view.k,
      parallel: view.lens === "orthographic",
    };
  };

  class Rig {
    constructor(canvas, onPick) {
      this.canvas = canvas;
      this.onPick = onPick;
      this.view = 0;
      this.hover = -1;
      this.pointers = new Map();
      this.colors = {};
      canvas.addEventListener("pointerdown", (event) => this.onDown(event));
      canvas.addEventListener("pointermove", (event) => this.onMove(event));
      canvas.addEventListener("pointerup", (event) => this.onUp(event));
      canvas.addEventListener("pointercancel", (event) => this.onUp(event));
      canvas.addEventListener("pointerleave", () => this.setHover(-1));
      canvas.addEventListener("wheel", (event) => this.onWheel(event), { passive: false });
      canvas.addEventListener("keydown", (event) => this.onKey(event));
      canvas.addEventListener("dblclick", () => this.home());
      new ResizeObserver(() => this.draw()).observe(canvas);
      document.addEventListener("themechange", () => this.draw());
    }

    // Show an asset's cameras; `seen` is its detail record.
    show(seen, method) {
      this.seen = seen;
      this.hover = -1;
      this.texture = null;
      this.half = HALF[method] ?? 0;
      this.round = method === "sphere";
      this.cameras = seen.views.map((view) => {
        const p = view.pose;
        return {
          position: [p[3], p[7], p[11]],
          right: [p[0], p[4], p[8]],
          up: [p[1], p[5], p[9]],
          back: [p[2], p[6], p[10]],
          ...lens(view),
          size: view.size,
        };
      });
      const distances = this.cameras.map((c) => length(c.position)).sort((a, b) => a - b);
      this.reach = Math.max(1e-6, distances[Math.floor(distances.length * 0.95)] ?? 1, this.half);
      // Many frusta are drawn smaller, so that they stay apart.
      const share = 0.17 * Math.max(0.4, Math.min(1, Math.sqrt(36 / distances.length)));
      this.depth = Math.max(1e-6, (distances[Math.floor(distances.length / 2)] ?? 1) * share);
      for (const camera of this.cameras) camera.corners = this.corners(camera, this.depth);
      this.cloud = decode(seen.cloud);
      this.home();
    }

    home() {
      const [x, y] = this.cameras[this.seen.first]?.position ?? [1, -1];
      Object.assign(this, { yaw: Math.atan2(y, x) + ASIDE, pitch: PITCH, zoom: 1, through: false });
      this.draw();
    }

    setView(index) {
      this.view = index;
      this.texture = null;
      this.draw();
    }

    // The picture that the current camera shows: {image, x, y, width, height}.
    setTexture(tile) {
      this.texture = tile;
      this.draw();
    }

    setHover(index) {
      if (index === this.hover) return;
      this.hover = index;
      this.canvas.style.cursor = index >= 0 ? "pointer" : "grab";
      this.draw();
    }

    corners(camera, depth) {
      const [fx, fy, cx, cy] = camera.k;
      const [width, height] = camera.size;
      const wide = camera.parallel ? 1 : depth;
      return [[0, 0], [width, 0], [width, height], [0, height]].map(([u, v]) => {
        let point = add(camera.position, camera.right, ((u - cx) / fx) * wide);
        point = add(point, camera.up, (-(v - cy) / fy) * wide);
        return add(point, camera.back, -depth);
      });
    }

    // --- Projection ------------------------------------------------------------------------

    prepare() {
      const { canvas } = this;
      const ratio = Math.min(2, window.devicePixelRatio || 1);
      const width = Math.round(canvas.clientWidth * ratio);
      const height = Math.round(canvas.clientHeight * ratio);
      if (canvas.width !== width || canvas.height !== height) {
        canvas.width = width;
        canvas.height = height;
      }
      this.ratio = ratio;
      if (this.through) {
        const camera = this.cameras[this.view];
        const fit = Math.min(width / camera.size[0], height / camera.size[1]);
        Object.assign(this, {
          eye: camera.position, right: camera.right, up: camera.up, back: camera.back,
          focal: camera.k[0] * fit, focalY: camera.k[1] * fit,
          cx: width / 2 + (camera.k[2] - camera.size[0] / 2) * fit,
          cy: height / 2 + (camera.k[3] - camera.size[1] / 2) * fit,
          parallel: camera.parallel,
        });
        return;
      }
      const { yaw, pitch } = this;
      this.parallel = false;
      this.back = [Math.cos(pitch) * Math.cos(yaw), Math.cos(pitch) * Math.sin(yaw), Math.sin(pitch)];
      this.right = [-Math.sin(yaw), Math.cos(yaw), 0];
      this.up = [
        -Math.sin(pitch) * Math.cos(yaw), -Math.sin(pitch) * Math.sin(yaw), Math.cos(pitch),
      ];
      this.focal = this.focalY = Math.min(width, height) / 2 / Math.tan(FOV / 2);
      const distance = ((this.reach + this.depth) * 0.92) / Math.sin(FOV / 2) / this.zoom;
      this.eye = this.back.map((value) => value * distance);
      this.cx = width / 2;
      this.cy = height / 2;
    }

    project(point) {
      const local = add(point, this.eye, -1);
      const z = -dot(local, this.back);
      if (z < 1e-4) return null;
      const far = this.parallel ? 1 : z;
      return [
        this.cx + (this.focal * dot(local, this.right)) / far,
        this.cy - (this.focalY * dot(local, this.up)) / far,
        z,
      ];
    }

    // --- Drawing ---------------------------------------------------------------------------

    draw() {
      if (this.pending || !this.seen) return;
      this.pending = true;
      requestAnimationFrame(() => {
        this.pending = false;
        if (this.canvas.clientWidth) this.paint();
      });
    }

    paint() {
      this.prepare();
      const { canvas } = this;
      const context = (this.context = canvas.getContext("2d"));
      const style = getComputedStyle(canvas);
      const color = (name) => style.getPropertyValue(`--rig-${name}`).trim() || "gray";
      for (const name of ["grid", "box", "volume", "calm", "doubt", "current", "text", "x", "y", "z"])
        this.colors[name] = color(name);
      context.clearRect(0, 0, canvas.width, canvas.height);
      context.lineJoin = context.lineCap = "round";
      this.ground();
      if (this.half) this.volume();
      const middle = length(this.eye);
      const far = (camera) => length(add(camera.position, this.eye, -1)) > middle;
      const others = this.cameras.map((camera, index) => [camera, index])
        .filter(([, index]) => index !== this.view && index !== this.hover);
      if (!this.through) for (const [camera, index] of others) if (far(camera)) this.frustum(camera, index);
      const current = this.cameras[this.view];
      const ends = [this.hover, this.view].filter((i, n, all) => i >= 0 && all.indexOf(i) === n);
      if (!this.through) for (const index of ends) if (far(this.cameras[index])) this.frustum(this.cameras[index], index);
      this.points();
      this.box(this.seen.box, this.colors.box, 1.2, []);
      if (this.through) {
        this.frame(current);
        return;
      }
      for (const [camera, index] of others) if (!far(camera)) this.frustum(camera, index);
      for (const index of ends) if (!far(this.cameras[index])) this.frustum(this.cameras[index], index);
    }

    line(points, color, width, dash = []) {
      const { context } = this;
      const found = points.map((point) => this.project(point));
      if (found.some((point) => !point)) return;
      context.beginPath();
      found.forEach(([x, y], index) => (index ? context.lineTo(x, y) : context.moveTo(x, y)));
      context.strokeStyle = color;
      context.lineWidth = width * this.ratio;
      context.setLineDash(dash.map((value) => value * this.ratio));
      context.stroke();
    }

    ground() {
      const z = Math.min(-this.half, this.seen.box[0][2]);
      const side = Math.ceil(Math.max(1, this.reach * 0.6, this.half * 1.5) * 2) / 2;
      const step = side > 4 ? side / 4 : 0.5;
      for (let at = -side; at <= side + 1e-9; at += step) {
        this.line([[at, -side, z], [at, side, z]], this.colors.grid, 1);
        this.line([[-side, at, z], [side, at, z]], this.colors.grid, 1);
      }
      const tip = side * 0.45;
      const axes = [["x", [tip, 0, 0]], ["y", [0, tip, 0]], ["z", [0, 0, tip]]];
      for (const [name, end] of axes) {
        const from = [-side, -side, z];
        this.line([from, add(from, end)], this.colors[name], 2);
        this.label(add(from, end, 1.14), name.toUpperCase(), this.colors[name]);
      }
    }

    label(point, text, color) {
      const found = this.project(point);
      if (!found) return;
      const { context } = this;
      context.font = `600 ${11 * this.ratio}px system-ui, sans-serif`;
      context.textAlign = "center";
      context.textBaseline = "middle";
      context.fillStyle = color;
      context.fillText(text, found[0], found[1]);
    }

    volume() {
      const h = this.half;
      if (!this.round) {
        this.box([[-h, -h, -h], [h, h, h]], this.colors.volume, 1, [3, 4]);
        return;
      }
      for (let axis = 0; axis < 3; axis++) {
        const ring = Array.from({ length: 65 }, (_, i) => {
          const angle = (i / 64) * 2 * Math.PI;
          const point = [0, 0, 0];
          point[(axis + 1) % 3] = h * Math.cos(angle);
          point[(axis + 2) % 3] = h * Math.sin(angle);
          return point;
        });
        this.line(ring, this.colors.volume, 1, [3, 4]);
      }
    }

    box([low, high], color, width, dash) {
      const corner = (i) => [i & 1 ? high[0] : low[0], i & 2 ? high[1] : low[1], i & 4 ? high[2] : low[2]];
      for (let i = 0; i < 8; i++)
        for (const bit of [1, 2, 4])
          if (!(i & bit)) this.line([corner(i), corner(i | bit)], color, width, dash);
    }

    points() {
      if (!this.cloud) return;
      const { context } = this;
      const { positions, colors } = this.cloud;
      const count = colors.length;
      const found = [];
      for (let i = 0; i < count; i++) {
        const point = this.project([positions[3 * i], positions[3 * i + 1], positions[3 * i + 2]]);
        if (point) found.push([point, colors[i]]);
      }
      found.sort((a, b) => b[0][2] - a[0][2]);
      const size = this.reach * 0.011;
      for (const [[x, y, z], color] of found) {
        const side = Math.max(1.4 * this.ratio, (this.focal * size) / z);
        context.fillStyle = color;
        context.fillRect(x - side / 2, y - side / 2, side, side);
      }
    }

    frustum(camera, index) {
      const current = index === this.view;
      const doubt = Object.values(this.seen.views[index].checks ?? {}).some((c) => c?.[0] === "doubt");
      const color = current ? this.colors.current : doubt ? this.colors.doubt : this.colors.calm;
      const strong = current || index === this.hover;
      const corners = strong ? this.corners(camera, this.depth * (current ? 1.35 : 1.15)) : camera.corners;
      const { context } = this;
      if (current && this.texture) this.picture(corners);
      context.globalAlpha = strong ? 1 : 0.75;
      const width = strong ? 2 : 1.1;
      for (const corner of corners) this.line([camera.position, corner], color, width);
      this.line([...corners, corners[0]], color, width);
      const top = add(corners[0], corners[1]).map((v) => v / 2);
      const tip = add(top, camera.up, this.depth * 0.14);
      const side = (corner) => add(corner.map((v) => v * 0.16), top, 0.84);
      this.line([side(corners[0]), tip, side(corners[1])], color, width);
      context.globalAlpha = 1;
      if (strong) this.label(add(camera.position, camera.back, this.depth * 0.35), String(index), color);
    }

    // The view's picture on its plane, in small pieces, each close enough to flat.
    picture(corners) {
      const { context, texture } = this;
      const N = 8;
      const at = (u, v) => {
        const top = add(corners[0].map((x) => x * (1 - u)), corners[1], u);
        const bottom = add(corners[3].map((x) => x * (1 - u)), corners[2], u);
        return this.project(add(top.map((x) => x * (1 - v)), bottom, v));
      };
      context.save();
      for (let row = 0; row < N; row++) {
        for (let column = 0; column < N; column++) {
          const [a, b, c] = [at(column / N, row / N), at((column + 1) / N, row / N), at(column / N, (row + 1) / N)];
          if (!a || !b || !c) continue;
          const width = texture.width / N;
          const height = texture.height / N;
          context.setTransform(
            (b[0] - a[0]) / width, (b[1] - a[1]) / width,
            (c[0] - a[0]) / height, (c[1] - a[1]) / height, a[0], a[1],
          );
          context.drawImage(
            texture.image, texture.x + column * width, texture.y + row * height, width, height,
            0, 0, width * 1.03, height * 1.03,
          );
        }
      }
      context.restore();
    }

    // Looking through a camera: the edge of its picture.
    frame(camera) {
      const [width, height] = camera.size;
      const fit = Math.min(this.canvas.width / width, this.canvas.height / height);
      const { context } = this;
      context.setLineDash([]);
      context.strokeStyle = this.colors.current;
      context.lineWidth = 2 * this.ratio;
      context.strokeRect(
        (this.canvas.width - width * fit) / 2 + this.ratio, (this.canvas.height - height * fit) / 2 + this.ratio,
        width * fit - 2 * this.ratio, height * fit - 2 * this.ratio,
      );
    }

    // --- Mouse, touch, keys ----------------------------------------------------------------

    // The camera that a place on the canvas means, or -1.
    pick(x, y) {
      if (this.through || !this.seen) return -1;
      let best = -1;
      let least = Infinity;
      this.cameras.forEach((camera, index) => {
        const places = [camera.position, ...camera.corners].map((p) => this.project(p));
        if (places.some((p) => !p)) return;
        const middle = places.slice(1).reduce((sum, p) => [sum[0] + p[0] / 4, sum[1] + p[1] / 4], [0, 0]);
        for (const [px, py] of [places[0], middle]) {
          const distance = Math.hypot(px / this.ratio - x, py / this.ratio - y);
          if (distance < least && distance < 20) {
            least = distance;
            best = index;
          }
        }
      });
      return best;
    }

    place(event) {
      const box = this.canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    }

    onDown(event) {
      this.canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, this.place(event));
      this.moved = this.pointers.size > 1 ? 100 : 0;
    }

    onMove(event) {
      const [x, y] = this.place(event);
      const before = this.pointers.get(event.pointerId);
      if (!before) {
        this.setHover(this.pick(x, y));
        return;
      }
      const spread = () => {
        const [a, b] = [...this.pointers.values()];
        return Math.hypot(a[0] - b[0], a[1] - b[1]);
      };
      const wide = this.pointers.size === 2 ? spread() : 0;
      this.pointers.set(event.pointerId, [x, y]);
      this.moved += Math.hypot(x - before[0], y - before[1]);
      if (wide) this.scale(spread() / wide);
      else if (this.moved > 3) this.turn((before[0] - x) * 0.008, (y - before[1]) * 0.008);
    }

    onUp(event) {
      if (!this.pointers.delete(event.pointerId)) return;
      if (event.type === "pointerup" && this.moved <= 3) {
        const found = this.pick(...this.place(event));
        if (found >= 0) this.onPick(found);
      }
    }

    onWheel(event) {
      event.preventDefault();
      this.scale(Math.exp(-event.deltaY * 0.0012));
    }

    onKey(event) {
      const turns = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] };
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key in turns) this.turn(...turns[event.key]);
      else if (event.key === "+" || event.key === "=") this.scale(1.15);
      else if (event.key === "-") this.scale(1 / 1.15);
      else if (event.key === "0") this.home();
      else return;
      event.preventDefault();
      event.stopPropagation();
    }

    turn(yaw, pitch) {
      this.through = false;
      this.yaw += yaw;
      this.pitch = Math.max(-1.55, Math.min(1.55, this.pitch + pitch));
      this.draw();
    }

    scale(factor) {
      this.through = false;
      this.zoom = Math.max(0.3, Math.min(6, this.zoom * factor));
      this.draw();
    }

    look() {
      this.through = !this.through;
      this.draw();
      return this.through;
    }
  }

  function decode(cloud) {
    if (!cloud) return null;
    const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const steps = new DataView(bytes(cloud.points).buffer);
    const paint = bytes(cloud.colors);
    const count = Math.min(Math.floor(steps.byteLength / 6), Math.floor(paint.length / 3));
    const positions = new Float32Array(3 * count);
    for (let i = 0; i < 3 * count; i++)
      positions[i] = cloud.low[i % 3] + (steps.getUint16(2 * i, true) / 65535) * cloud.size[i % 3];
    const colors = Array.from(
      { length: count },
      (_, i) => `rgb(${paint[3 * i]} ${paint[3 * i + 1]} ${paint[3 * i + 2]})`,
    );
    return { positions, colors };
  }

  return { Rig };
})();
