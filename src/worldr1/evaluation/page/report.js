"use strict";
(() => {
  const videos = [...document.querySelectorAll("video")];
  const button = document.getElementById("play"), slider = document.getElementById("time");
  if (videos.length && button && slider) {
    const visible = new Set();
    let playing = !matchMedia("(prefers-reduced-motion: reduce)").matches;
    let began = performance.now(), held = 0, shown = -1;
    const length = () => videos.find(v => v.duration > 0)?.duration ?? 0;
    const seek = (video, time) => { if (Math.abs(video.currentTime - time) > 1e-3) video.currentTime = time; };
    const watch = new IntersectionObserver(entries => {
      for (const entry of entries) entry.isIntersecting ? visible.add(entry.target) : visible.delete(entry.target);
      shown = -1;
    });
    videos.forEach(v => { v.pause(); watch.observe(v); v.addEventListener("loadeddata", () => { shown = -1; }); });
    const fps = Number(slider.dataset.fps), frames = Number(slider.dataset.frames);
    slider.max = frames - 1;
    const tick = now => {
      if (playing) held = ((now - began) / 1000 * fps) % (frames + fps * 0.4);
      const frame = Math.min(Math.floor(held), frames - 1);
      if (frame !== shown && length()) {
        shown = frame;
        visible.forEach(v => seek(v, (frame + 0.5) / fps));
        slider.value = frame;
      }
      requestAnimationFrame(tick);
    };
    const play = on => { playing = on; began = performance.now() - held / fps * 1000; button.textContent = on ? "Pause" : "Play"; };
    button.addEventListener("click", () => play(!playing));
    slider.addEventListener("input", () => { play(false); held = Number(slider.value); });
    play(playing);
    requestAnimationFrame(tick);
  }

  const source = document.getElementById("cameras"), canvas = document.getElementById("stage");
  if (!source || !canvas) return;
  const clips = JSON.parse(source.textContent), choice = document.getElementById("clip");
  let yaw = 0.7, pitch = 0.6, zoom = 1, clip = 0;
  const color = name => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  const draw = () => {
    const ratio = devicePixelRatio || 1, w = canvas.clientWidth, h = canvas.clientHeight, pen = canvas.getContext("2d");
    canvas.width = w * ratio; canvas.height = h * ratio; pen.scale(ratio, ratio);
    const unit = Math.min(w, h) * 0.72 * zoom, [sy, cy, sp, cp] = [Math.sin(yaw), Math.cos(yaw), Math.sin(pitch), Math.cos(pitch)];
    const place = ([x, y, z]) => {
      const a = x, b = -y, c = z - 0.45, u = cy * a + sy * c, d = -sy * a + cy * c;
      return [w / 2 + u * unit, h / 2 - (cp * b + sp * d) * unit];
    };
    const line = (points, close) => {
      pen.beginPath(); points.forEach((p, k) => { const [x, y] = place(p); k ? pen.lineTo(x, y) : pen.moveTo(x, y); });
      if (close) pen.closePath(); pen.stroke();
    };
    pen.lineWidth = 1; pen.strokeStyle = color("line");
    for (let k = -4; k <= 4; k++) { line([[k / 4, 0.38, -0.5], [k / 4, 0.38, 1.75]]); }
    for (let k = -2; k <= 7; k++) { line([[-1, 0.38, k / 4], [1, 0.38, k / 4]]); }
    pen.strokeStyle = color("soft");
    line([[-0.05, 0, 1], [0.05, 0, 1]]); line([[0, -0.05, 1], [0, 0.05, 1]]); line([[0, 0, 0.95], [0, 0, 1.05]]);
    const data = clips[clip], tangent = Math.tan(data.fov * Math.PI / 360) * 0.08;
    for (const name of ["asked", "base", "trained"]) {
      const poses = data[name];
      if (!poses) continue;
      pen.strokeStyle = color(name); pen.lineWidth = name === "asked" ? 3 : 2;
      pen.setLineDash(name === "asked" ? [2, 5] : []);
      line(poses.map(m => [m[3], m[7], m[11]]));
      pen.setLineDash([]); pen.lineWidth = 1;
      for (let k = 0; k < poses.length; k += 4) {
        const m = poses[k], to = (x, y, z) => [0, 1, 2].map(r => m[4 * r] * x + m[4 * r + 1] * y + m[4 * r + 2] * z + m[4 * r + 3]);
        const corners = [[-1, -1], [1, -1], [1, 1], [-1, 1]].map(([a, b]) => to(a * tangent, b * tangent, 0.08));
        line(corners, true); corners.forEach(c => line([to(0, 0, 0), c]));
      }
    }
  };
  let grabbed = null;
  canvas.addEventListener("pointerdown", e => { grabbed = [e.clientX, e.clientY]; canvas.setPointerCapture(e.pointerId); });
  canvas.addEventListener("pointerup", () => { grabbed = null; });
  canvas.addEventListener("pointermove", e => {
    if (!grabbed) return;
    yaw += (e.clientX - grabbed[0]) / 160; pitch = Math.max(-0.2, Math.min(1.57, pitch + (e.clientY - grabbed[1]) / 160));
    grabbed = [e.clientX, e.clientY]; draw();
  });
  canvas.addEventListener("wheel", e => { e.preventDefault(); zoom = Math.max(0.4, Math.min(4, zoom * Math.exp(-e.deltaY / 600))); draw(); }, { passive: false });
  canvas.addEventListener("keydown", e => {
    const step = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] }[e.key];
    if (step) { e.preventDefault(); yaw += step[0]; pitch += step[1]; draw(); }
  });
  choice.addEventListener("change", () => { clip = Number(choice.value); draw(); });
  addEventListener("resize", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
})();
