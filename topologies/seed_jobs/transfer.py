"""I/O jobs: fetching and parsing, pictures, a content-addressed file store."""

from __future__ import annotations

import binascii
import csv
import gzip
import io
import json
import re
import struct
import zlib
from base64 import b64decode
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any
from urllib.parse import unquote_to_bytes

from msgspec import Meta

from bananas_topology import Bury, job
from seed_jobs.workspace import folder, write_atomic

_DIGEST = re.compile(r"[0-9a-f]{64}")
_EXAMPLE = "data:text/csv,name%2Ckilos%0Acavendish%2C120%0Aplantain%2C80%0A"

#: Pixels along one edge of a picture.
Edge = Annotated[int, Meta(ge=1, le=1024)]


@dataclass(frozen=True, slots=True)
class Source:
    """The data, as a ``data:`` URL (RFC 2397)."""

    url: str = _EXAMPLE


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture to draw and to shrink by an integer factor."""

    width: Edge = 128
    height: Edge = 96
    shrink: Annotated[int, Meta(ge=1, le=16)] = 4


@dataclass(frozen=True, slots=True)
class Upload:
    """Texts to store, by file name."""

    files: dict[str, str]


@dataclass(frozen=True, slots=True)
class Download:
    """Content that `upload_files` has stored, by the SHA-256 that it returned."""

    sha256: str


@job("fetch_data")
def fetch_data(payload: Source | None) -> dict[str, Any]:
    """Read the CSV or JSON of a URL and summarize it."""
    kind, content = _read_data_url((payload or Source()).url)
    try:
        if kind == "application/json":
            found = json.loads(content)
            records = found if isinstance(found, list) else [found]
        else:
            records = list(csv.DictReader(io.StringIO(content.decode())))
    except (ValueError, csv.Error, RecursionError) as error:
        raise Bury(f"the content is not valid {kind}: {error}") from error
    named = (key for record in records if isinstance(record, dict) for key in record)
    return {
        "records": len(records),
        "fields": sorted({str(key) for key in named}),
        "bytes": len(content),
        "sha256": sha256(content).hexdigest(),
    }


@job("process_images")
def process_images(payload: Picture | None) -> dict[str, Any]:
    """Draw a picture, scale it down to a thumbnail, and encode both as PNG."""
    picture = payload or Picture()
    rows = [
        bytes((x * 255 // picture.width + y) % 256 for x in range(picture.width))
        for y in range(picture.height)
    ]
    small = _shrunk(rows, min(picture.shrink, picture.width, picture.height))
    full_png, small_png = _png(rows), _png(small)
    write_atomic(folder("pictures") / f"{sha256(small_png).hexdigest()}.png", small_png)
    return {
        "width": len(small[0]),
        "height": len(small),
        "bytes_before": len(full_png),
        "bytes": len(small_png),
        "sha256": sha256(small_png).hexdigest(),
    }


@job("upload_files")
def upload_files(payload: Upload) -> dict[str, Any]:
    """Compress files into the store, under their SHA-256."""
    store = folder("store")
    stored = []
    for name, text in sorted(payload.files.items()):
        content = text.encode()
        digest = sha256(content).hexdigest()
        packed = gzip.compress(content, mtime=0)
        write_atomic(store / f"{digest}.gz", packed)
        stored.append(
            {"name": name, "sha256": digest, "bytes": len(content), "stored_bytes": len(packed)}
        )
    return {"files": stored}


@job("download_content")
def download_content(payload: Download) -> dict[str, Any]:
    """Read a file from the store and verify its content.

    A missing file may not have been uploaded yet: the failure is retried as usual.
    """
    if not _DIGEST.fullmatch(payload.sha256):
        raise Bury(f'"{payload.sha256[:80]}" is not a SHA-256; expected 64 hexadecimal digits')
    packed = (folder("store") / f"{payload.sha256}.gz").read_bytes()
    content = gzip.decompress(packed)
    if sha256(content).hexdigest() != payload.sha256:
        raise Bury(f"the content stored under {payload.sha256} has another hash")
    return {"bytes": len(content), "lines": content.count(b"\n"), "sha256": payload.sha256}


def _read_data_url(url: str) -> tuple[str, bytes]:
    """The media type and the content of a ``data:`` URL."""
    head, comma, body = url.partition(",")
    if not head.startswith("data:") or not comma:
        raise Bury(f'"{url[:80]}" is not a data: URL; this example does not use the network')
    kind, *parameters = head.removeprefix("data:").split(";")
    content = unquote_to_bytes(body)
    if "base64" in parameters:
        try:
            content = b64decode(content, validate=True)
        except binascii.Error as error:
            raise Bury(f"the data: URL is not valid base64: {error}") from error
    return kind or "text/plain", content


def _shrunk(rows: list[bytes], factor: int) -> list[bytes]:
    """Average squares of `factor` by `factor` pixels; incomplete ones at the edges are cut off."""
    area = factor * factor
    height, width = len(rows) // factor, len(rows[0]) // factor
    return [
        bytes(
            sum(
                sum(row[x * factor : (x + 1) * factor])
                for row in rows[y * factor : (y + 1) * factor]
            )
            // area
            for x in range(width)
        )
        for y in range(height)
    ]


def _png(rows: list[bytes]) -> bytes:
    """Encode rows of gray pixels, one byte per pixel."""
    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = ((b"IHDR", header), (b"IDAT", pixels), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
