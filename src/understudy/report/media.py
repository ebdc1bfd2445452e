"""Pictures and videos of a run as data: URIs, and its dream beside what happened."""

from __future__ import annotations

import base64
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from understudy.report.chart import Axes, Charts, Line
from understudy.report.html import Element, Node, el
from understudy.report.read import RunRecord

MAX_BYTES, MAX_TOTAL = 8_000_000, 24_000_000
"""Of one file, and of a run's files; what is larger is named and left out."""
MOST_CURVES = 8
"""Features of a vector that are drawn."""
FRAMES = 8
"""Pictures in a row, of an observation that is an image."""
SUFFIXES = (".gif", ".png", ".jpg", ".jpeg", ".webp", ".mp4", ".webm")
Array = np.ndarray[Any, Any]


def kind_of(data: bytes) -> str | None:
    """The media type that the first bytes tell; a name tells nothing."""
    signs = {
        b"\x89PNG\r\n\x1a\n": "image/png", b"GIF87a": "image/gif", b"GIF89a": "image/gif",
        b"\xff\xd8\xff": "image/jpeg", b"\x1a\x45\xdf\xa3": "video/webm",
    }  # fmt: skip
    for sign, kind in signs.items():
        if data.startswith(sign):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return "video/mp4" if data[4:8] == b"ftyp" else None


def media(run: RunRecord, problems: list[str]) -> Element | None:
    """Every picture and video in the directory and its `media`."""
    shown, total = list[Node](), 0
    files = [file for place in (run.path, run.path / "media") for file in sorted(place.glob("*"))]
    dreamt = run.path / "media" / "dream.safetensors"
    for file in files:
        if file.name == "dream.png" and dreamt.is_file():
            continue  # drawn from the numbers instead
        if file.suffix.lower() not in SUFFIXES or file.is_symlink() or not file.is_file():
            continue
        size = file.stat().st_size
        if size > MAX_BYTES or total + size > MAX_TOTAL:
            problems.append(f"{file}: {size / 1e6:.1f} MB, left out of the page")
            continue
        data = file.read_bytes()
        kind = kind_of(data)
        if kind is None:
            problems.append(f"{file}: not a picture or video that a page can show")
            continue
        total += size
        shown.append(_figure(file, kind, data))
    return el("div", shown, class_="media") if shown else None


def _figure(file: Path, kind: str, data: bytes) -> Element:
    uri = f"data:{kind};base64,{base64.b64encode(data).decode()}"
    picture = (
        el("video", src=uri, controls=True, loop=True, muted=True, aria_label=file.name)
        if kind.startswith("video")
        else el("img", src=uri, alt=file.name)
    )
    return el("figure", picture, el("figcaption", file.name))


# ---- dreams -------------------------------------------------------------------------------------


def dream(run: RunRecord, charts: Charts, problems: list[str]) -> Element | None:
    """What the world model predicted without seeing, beside what happened."""
    file = run.path / "media" / "dream.safetensors"
    if not file.is_file():
        return None
    try:
        arrays = load_file(file)
        seen = int(arrays["seen"])
    except (SafetensorError, KeyError, OSError, ValueError) as error:
        problems.append(f"{file}: not a dream ({error})")
        return None
    parts: list[Node] = []
    for key, happened in arrays.items():
        name = key.removeprefix("actual.")
        guess = arrays.get(f"dreamt.{name}")
        if name == key or guess is None or guess.shape != happened.shape or not len(happened):
            continue
        parts.append(
            _strips(name, happened, guess)
            if happened.ndim == 4
            else _curves(name, happened, guess, seen, charts)
        )
    return el(
        "div",
        el("p", el("small", f"The model was shown the first {seen} observations (dotted line); after them "
           "it knows the actions alone, and dreams what they lead to.")),
        el("div", parts, class_="small-charts"),
    ) if parts else None  # fmt: skip


def _curves(name: str, happened: Array, guess: Array, seen: int, charts: Charts) -> list[Node]:
    wide = happened.reshape(len(happened), -1).astype(float)
    dreamt = guess.reshape(len(guess), -1).astype(float)
    several = wide.shape[1] > 1
    drawn: list[Node] = []
    for i in range(min(MOST_CURVES, wide.shape[1])):
        after = np.abs(wide[seen:, i] - dreamt[seen:, i])
        error = f"mean error after it {after.mean():.3g}" if len(after) else ""
        title = f"{name}[{i}]" if several else name
        lines = [
            Line(who, [(t, float(y)) for t, y in enumerate(values[:, i]) if np.isfinite(y)])
            for who, values in (("happened", wide), ("dreamt", dreamt))
        ]
        axes = Axes(title, "step", height=150, mark=min(seen, len(wide)) - 0.5, note=error)
        drawn.append(charts.draw(lines, axes))
    return drawn


def _strips(name: str, happened: Array, guess: Array) -> Element:
    chosen = np.linspace(0, len(happened) - 1, min(FRAMES, len(happened))).astype(int)
    rows: list[Node] = []
    for who, frames in (("happened", happened), ("dreamt", guess)):
        strip = np.concatenate(list(frames[chosen]), axis=1)
        uri = f"data:image/png;base64,{base64.b64encode(png(_bytes(strip))).decode()}"
        rows.append(el("img", src=uri, alt=f"{name}, {who}: {len(chosen)} frames", class_="strip"))
    steps = ", ".join(map(str, chosen))
    caption = f"{name}: what happened above, what was dreamt below (steps {steps})"
    return el("figure", rows, el("figcaption", caption), class_="strips")


def _bytes(image: Array) -> Array:
    """[H, W, C] as RGB bytes; floats are from 0 to 1."""
    if image.dtype != np.uint8:
        image = (np.clip(np.nan_to_num(image.astype(float)), 0, 1) * 255).round().astype(np.uint8)
    return image[..., :3] if image.shape[-1] >= 3 else np.repeat(image[..., :1], 3, -1)


def png(image: Array) -> bytes:
    """A PNG of an image [H, W, 3] of bytes (W3C PNG, 3rd edition, section 5)."""
    height, width, _ = image.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), image.reshape(height, -1)], axis=1)

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))  # fmt: skip

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(lines.tobytes(), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
