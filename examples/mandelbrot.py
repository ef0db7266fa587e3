"""The Mandelbrot set, tile by tile on a Pool; the colour of a tile's frame tells which worker drew it.

python examples/mandelbrot.py mandelbrot.png           this machine, server and workers included
MPSERVE_ADDRESS=host:7707 python examples/mandelbrot.py mandelbrot.png
"""

from __future__ import annotations

import argparse
import colorsys
import os
import socket
import struct
import zlib
from collections import Counter
from pathlib import Path

import mpclient as multiprocessing

LEFT, RIGHT, LOW, HIGH = -2.2, 0.8, -1.2, 1.2
DEPTH = 200

Tile = tuple[int, int, int, int, int]
"""First column, first row, pixels a side, width and height of the whole picture."""


def draw(tile: Tile) -> tuple[Tile, str, bytes]:
    """Return a tile's grey values, row by row, and who computed them."""
    column, row, side, width, height = tile
    shades = bytearray()
    for y in range(row, row + side):
        for x in range(column, column + side):
            c = complex(LEFT + (RIGHT - LEFT) * x / width, LOW + (HIGH - LOW) * y / height)
            shades.append(shade(c))
    return tile, f"{socket.gethostname()}:{os.getpid()}", bytes(shades)


def shade(c: complex) -> int:
    """Return 0 for a point of the set, else the brighter the sooner it escapes."""
    z = 0j
    for step in range(DEPTH):
        z = z * z + c
        if z.real * z.real + z.imag * z.imag > 4:
            return 255 - 200 * step // DEPTH
    return 0


class Picture:
    """Pixels, three bytes each."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.pixels = bytearray(3 * width * height)

    def put(self, x: int, y: int, colour: tuple[int, int, int]) -> None:
        """Set one pixel."""
        at = 3 * (y * self.width + x)
        self.pixels[at : at + 3] = bytes(colour)

    def put_tile(self, tile: Tile, shades: bytes, frame: tuple[int, int, int]) -> None:
        """Set the pixels of a tile, and its frame."""
        column, row, side, _, _ = tile
        for number, grey in enumerate(shades):
            y, x = divmod(number, side)
            on_edge = x in {0, side - 1} or y in {0, side - 1}
            self.put(column + x, row + y, frame if on_edge else (grey, grey, grey))

    def save(self, path: Path) -> None:
        """Write a PNG (RFC 2083): signature, header, compressed rows, end."""
        row_bytes = 3 * self.width
        rows = b"".join(
            b"\0" + self.pixels[at : at + row_bytes] for at in range(0, len(self.pixels), row_bytes)
        )
        header = struct.pack("!IIBBBBB", self.width, self.height, 8, 2, 0, 0, 0)
        chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*each) for each in chunks))


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return one chunk of a PNG."""
    return struct.pack("!I", len(data)) + kind + data + struct.pack("!I", zlib.crc32(kind + data))


def colour_of(number: int) -> tuple[int, int, int]:
    """Return a colour that differs from those of other numbers."""
    red, green, blue = colorsys.hsv_to_rgb(number * 0.381966 % 1, 0.9, 1)
    return round(255 * red), round(255 * green), round(255 * blue)


def main() -> None:
    """Draw, and say who drew how much."""
    parser = argparse.ArgumentParser(description="Draw the Mandelbrot set on a Pool.")
    parser.add_argument("file", type=Path, help="the PNG to write")
    parser.add_argument("--width", type=int, default=600, help="pixels, a multiple of the tile's (600)")
    parser.add_argument("--tile", type=int, default=40, help="pixels a side (40)")
    options = parser.parse_args()
    side, width = options.tile, options.width // options.tile * options.tile
    height = width * 4 // 5 // side * side
    tiles = [(x, y, side, width, height) for y in range(0, height, side) for x in range(0, width, side)]
    picture = Picture(width, height)
    drawn: Counter[str] = Counter()
    with multiprocessing.Pool() as pool:
        for tile, who, shades in pool.imap_unordered(draw, tiles):
            drawn[who] += 1
            picture.put_tile(tile, shades, colour_of(list(drawn).index(who)))
    picture.save(options.file)
    for who, n in drawn.items():
        print(f"{n:5} tiles by {who}")
    print(f"{options.file}: {width} x {height}, {len(tiles)} tiles, {len(drawn)} workers")


if __name__ == "__main__":
    main()
