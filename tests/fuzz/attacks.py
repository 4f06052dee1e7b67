"""Files that someone made to do harm, each whole in its format."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import os
import pickle
import stat
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import torch
from PIL import Image

MARK = "NOAH_FUZZ_MARK"
"""Environment variable with the path of a file that appears when code in a file has run."""


class Runs:
    """Unpickled, it makes the marked file."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (os.system, (f"touch ${MARK}",))


def checkpoints() -> Iterator[bytes]:
    """Pickled files: code, other objects, tensors that are larger than their file."""
    for content in (
        Runs(),
        {"model": Runs()},
        {"model": {"patch_embed.proj.weight": Runs()}},
        {"model": {1: torch.zeros(2)}},
        {1: torch.zeros(2)},
        {"model": [1]},
        {"model": {"pos_embed": torch.zeros(1).expand(1, 10**6, 10**4)}},
        {"patch_embed.proj.weight": torch.zeros(1).expand(64, 3, 10**4, 10**4)},
        {"pos_embed": torch.zeros(1).expand(1, 10**8 + 1, 64)},
        {"model": {f"blocks.{block}.attn.LoRA_a.weight": torch.zeros(1).expand(10**5, 10**5) for block in range(3)}},
        {"model": {"head.weight": torch.zeros(1).expand(10**9, 32), "pos_embed": torch.zeros(1, 17, 32)}},
        {"norm.weight": torch.sparse_coo_tensor(torch.zeros(1, 1, dtype=torch.long), torch.ones(1), (10**12,))},
        {"norm.weight": torch.zeros(64, dtype=torch.complex64)},
        {"norm.weight": torch.quantize_per_tensor(torch.zeros(64), 1.0, 0, torch.qint8)},
        {"norm.weight": torch.zeros(64, device="meta")},
    ):
        for zipped in (True, False):
            file = io.BytesIO()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    torch.save(content, file, _use_new_zipfile_serialization=zipped)
                except (RuntimeError, NotImplementedError):  # of kinds that the older format does not hold
                    continue
            yield file.getvalue()
    yield pickle.dumps(Runs())
    yield b"\x80\x02" + b"]" * 200_000 + b"."
    yield b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"X" + struct.pack("<I", 2**32 - 1)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:  # torch itself stores without compressing
        archive.writestr("archive/data.pkl", pickle.dumps({"a": 1}))
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/data/0", bytes(300 * 2**20))
    yield file.getvalue()


def arrays() -> Iterator[bytes]:
    """`.npz` files: pickled objects, headers that promise more than there is, and zeros that compress well."""
    file = io.BytesIO()
    np.savez(file, **{"embedding/kernel": np.array([Runs()], dtype=object)})
    yield file.getvalue()
    for shape, body in (((10**12, 10**3), b""), ((2**62, 2**62), b"x"), ((-1,), b""), ((), b"")):
        yield zipped({"embedding/kernel.npy": npy("<f4", shape) + body, "embedding/bias.npy": npy("<f4", (64,))})
    yield zipped({"embedding/kernel.npy": npy("|O", (1,)) + pickle.dumps(Runs())})
    yield zipped({"embedding/kernel.npy": b"\x93NUMPY\x02\0" + struct.pack("<I", 2**32 - 1) + b"{"})
    yield zipped({"embedding/kernel.npy": npy("<f4", "__import__('os').system('touch $" + MARK + "')")})
    yield zipped({f"{number}.npy": npy("<f4", (1,)) for number in range(20_000)})


def npy(dtype: str, shape: object) -> bytes:
    """The header of an array."""
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\0" + struct.pack("<H", len(text)) + text


def zipped(members: dict[str, bytes]) -> bytes:
    """A compressed archive."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def safetensors() -> Iterator[bytes]:
    """Headers that lie about sizes, places and types."""

    def whole(header: object, body: bytes = b"", length: int | None = None) -> bytes:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(text) if length is None else length) + text + body

    for length in (0, 1, 2**31, 2**63, 2**64 - 1):
        yield whole({}, length=length)
    for entry in (
        {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]},
        {"dtype": "F32", "shape": [2**62, 4], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]},
        {"dtype": "F32", "shape": [1], "data_offsets": [0, 2**63]},
        {"dtype": "F4", "shape": [8], "data_offsets": [0, 4]},
        {"dtype": "C64", "shape": [1], "data_offsets": [0, 8]},
        {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [], "data_offsets": [0, 4]},
        {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]},
    ):
        for name in ("weights/head.weight", "norm.weight", "patch_embed.proj.weight"):
            offsets: Any = entry["data_offsets"]
            yield whole({name: entry}, b"\0" * max(min(offsets[1], 8), 0))
    yield whole({"__metadata__": {"losses": "[" * 100_000, "noah.subnet": "[" * 100_000}})
    yield whole({"__metadata__": {"losses": "[" + "9" * 5000 + "]", "noah.subnet": "9" * 5000}})
    yield whole({"__metadata__": {"losses": "[1e999, NaN]"}})
    yield whole({"__metadata__": {"losses": "{}"}})
    yield whole(b"[" * 100_000)


def settings() -> Iterator[bytes]:
    """YAML that asks for code, repeats itself without end, or breaks the reader."""
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
    )
    maps = "m0: &m0 {k: 1}\n" + "".join(
        f"m{n}: &m{n} {{{', '.join(f'k{i}: *m{n - 1}' for i in range(10))}}}\n" for n in range(1, 12)
    )
    for text in (
        laughs,
        maps,
        "supernet: " + maps.replace("\n", "\n  "),
        "settings: &s {supernet: *s}\n",
        "seed: &s [*s]\n",
        "seed: !!python/object/apply:os.system ['touch $" + MARK + "']\n",
        "seed: !!python/name:os.system\n",
        "seed: !!python/module:os\n",
        "seed: 2001-99-99\n",
        "seed: !!timestamp x\n",
        "seed: !!int x\n",
        "seed: !!float x\n",
        "seed: !!bool x\n",
        "seed: !!binary é\n",
        "seed: 0b\n",
        "seed: " + "9" * 5000 + "\n",
        "seed: 1:" + "9" * 5000 + "\n",
        "? [a, b]\n: 1\n",
        "? {a: 1}\n: 1\n",
        "1: 2\nnull: 3\ntrue: {4: 5}\n",
        "<<: [{seed: 1}, 5]\n",
        "<<: 5\n",
        "=: 5\n",
        "--- 1\n--- 2\n",
        "%YAML 9.9\n---\nseed: 1\n",
        "seed: *nowhere\n",
        "- " * 3000,
        "[" * 3000,
        "{a: " * 3000,
        "'" + "a" * 2**21,
        "[" + "1," * 400_000 + "]",
        "noah: 1\ncreated: 2\nsettings: {}\n",
        "noah: 1\ncreated: 2\nsettings: {supernet: 5}\n",
        "supernet: {augmentation: {mixup: .nan}}\n",
        "supernet: {epochs: .inf}\n",
        "budget: {macs: " + "9" * 4000 + "}\n",
        "budget: {macs: 1e999, latency: 1e999ms}\n",
        "\0",
        "\ufeff\ufeffseed: 1",
    ):
        yield text.encode()
    yield b"\xff\xfe" + "seed: 1".encode("utf-16-le")


def tars() -> Iterator[bytes]:
    """Tar archives whose members leave, lead elsewhere, are devices, or say that they are huge."""
    for name in (
        "../x",
        "a/../../x",
        "/tmp/noah-fuzz-escaped",
        "..\\x",
        "C:\\x",
        "",
        ".",
        "a" * 5000,
        "a/" * 1500,
        "\udcff",
    ):
        yield tar([(tarfile.TarInfo(name), b"x")])
    kinds = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"Z")
    for kind in kinds:
        for target in ("../../x", "/etc/passwd", "a", "missing", ""):
            info = tarfile.TarInfo("link")
            info.type, info.linkname = kind, target
            yield tar([(tarfile.TarInfo("a"), b"x"), (info, b"")])
            yield tar([(info, b""), (tarfile.TarInfo("link/a"), b"x")])
    yield tar([(tarfile.TarInfo("a"), b"1"), (tarfile.TarInfo("a"), b"2")])
    yield tar([(tarfile.TarInfo("a"), b"1"), (tarfile.TarInfo("a/b"), b"2")])
    yield claimed_tar(tarfile.REGTYPE, 2**40)
    for kind in (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, b"X"):
        yield claimed_tar(kind, 2**33 - 1)
        # A name of three gigabytes of zeros in three megabytes.
        yield gzip.compress(claimed_tar(kind, 3 * 2**30)[:512], 1) + _gibibyte() * 3
    yield gzip.compress(claimed_tar(tarfile.REGTYPE, 3 * 2**30)[:512], 1) + _gibibyte() * 3
    sparse = tarfile.TarInfo("a")
    sparse.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": str(2**40)}
    yield tar([(sparse, b"1\n0\n1\n" + b"\0" * 506)])
    # xz whose header asks for a dictionary of 1.5 GiB.
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 2**20}]
    yield lzma.compress(tar([(tarfile.TarInfo("a"), b"x")]), filters=filters)


@cache
def _gibibyte() -> bytes:
    """A gibibyte of zeros, compressed."""
    file = io.BytesIO()
    with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1, mtime=0) as opened:
        for _ in range(1024):
            opened.write(bytes(2**20))
    return file.getvalue()


def tar(members: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """An archive of these members."""
    file = io.BytesIO()
    with tarfile.open(
        fileobj=file, mode="w", format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape"
    ) as a:
        for info, content in members:
            info.size = len(content)
            a.addfile(info, io.BytesIO(content))
    return file.getvalue()


def claimed_tar(kind: bytes, size: int) -> bytes:
    """One member that says it is of some size, and is not there."""
    info = tarfile.TarInfo("huge")
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)


def zips() -> Iterator[bytes]:
    """Zip archives of the same kinds, and bombs."""
    for name in ("../x", "a/../../x", "/tmp/noah-fuzz-escaped", "..\\x", "C:\\x", ".", "a" * 5000, "a/" * 1500, "a\0b"):
        yield zipped({name: b"x"})
    for mode in (stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFBLK):
        for target in (b"../../x", b"/etc/passwd", b"a", b"missing", b"x" * 10_000, b"\xff"):
            file = io.BytesIO()
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr("a", "x")
                info = zipfile.ZipInfo("link")
                info.external_attr = (mode | 0o777) << 16
                archive.writestr(info, target)
            yield file.getvalue()
    bomb = zipped({"zeros": bytes(64 * 2**20)})
    yield bomb
    # The table says one byte, the stream holds 64 MiB; and the table says 2^40, the stream holds 64 MiB.
    for size in (1, 2**32 - 2):
        yield bomb.replace(struct.pack("<I", 64 * 2**20), struct.pack("<I", size))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("a", "1")
            archive.writestr("a", "2")
        yield file.getvalue()
    yield zipped({f"{number}": b"" for number in range(5_000)})
    yield zipped({"inner.zip": zipped({"zeros": bytes(2**20)})})


def images() -> Iterator[bytes]:
    """Images that say they are larger than memory, or blow up when they are decoded."""
    for width, height in ((2**31 - 1, 2**31 - 1), (10**6, 10**6), (50_000, 50_000), (0, 0), (2**31 - 1, 1)):
        for depth, color in ((8, 2), (16, 0), (1, 0), (16, 6)):
            yield png(width, height, depth, color, b"\0" * 100)
    # 8,000 x 8,000 of 16-bit gray, and of 16-bit RGBA, from a few kilobytes.
    yield png(9_000, 9_000, 16, 0, b"\0" * (9_000 * (2 * 9_000 + 1)))
    yield png(4_000, 4_000, 16, 6, b"\0" * (4_000 * (8 * 4_000 + 1)))
    text = zlib.compress(bytes(100 * 2**20), 9)
    yield png(8, 8, 8, 2, b"\0" * 200, (b"zTXt", b"a\0\0" + text), (b"iCCP", b"a\0\0" + text))
    gif = io.BytesIO()
    frame = Image.new("P", (500, 500))
    frame.save(gif, "GIF", save_all=True, append_images=[frame] * 300)
    yield gif.getvalue()
    yield b"P6\n99999 99999\n255\n" + bytes(100)
    yield b"P5\n9000 9000\n65535\n" + bytes(9_000 * 18_000)
    yield b"P6 " + b"9" * 5000 + b" 1 255\n"
    yield (
        b"BM"
        + struct.pack("<IHHI", 100, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, 10**5, 10**5, 1, 24, 0, 0, 0, 0, 0, 0)
    )
    yield b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"
    yield (
        b"II*\0"
        + struct.pack("<IH", 8, 2)
        + struct.pack("<HHII", 256, 4, 1, 10**5)
        + struct.pack("<HHII", 257, 4, 1, 10**5)
    )


def png(width: int, height: int, depth: int, color: int, rows: bytes, *extra: tuple[bytes, bytes]) -> bytes:
    """A PNG file whose header may lie about its rows."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    more = b"".join(chunk(*one) for one in extra)
    end = chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + end


def lists() -> Iterator[bytes]:
    """Lists of images that lead away, or hold no label that fits a number."""
    for line in (
        "../x 0",
        "/etc/passwd 0",
        "C:\\x 0",
        "a.png " + "9" * 5000,
        "a.png 99999999999999999999",
        "a.png -1",
        "a.png ٣",
        "a" * 5000 + " 0",
        "a/" * 3000 + "b 0",
        "a\0b 0",
        "a.png",
        " 0",
        "a.png 0\na.png 1",
        "a.png 0\r\n./a.png 1",
        "\ufeff\ufeffa.png 0",
    ):
        yield line.encode()
    yield b"\xff\xfea\0 \x000\0"
    yield b""
    yield b"a.png 0\n" * 200_000


def json_texts() -> Iterator[bytes]:
    """JSON of another kind than any reader expects."""
    for text in (
        "",
        "null",
        "5",
        '"text"',
        "[]",
        "{}",
        "[[]]",
        "NaN",
        "{" * 10,
        "[" * 200_000,
        '{"a":' * 100_000,
        "9" * 5000,
        "[" + "9" * 5000 + "]",
        '{"subnet": {"prompt": [1e999], "lora": [0], "adapter": [0]}}',
        '{"subnet": {"prompt": [true], "lora": [0], "adapter": [0]}}',
        '{"subnet": {"prompt": [' + "9" * 4000 + '], "lora": [0], "adapter": [0]}}',
        '{"prompt": "000000", "lora": [0], "adapter": [0]}',
        '{"files": {"/etc/passwd": {"sha256": "x", "bytes": 1}}}',
        '{"files": {"../../x": {"sha256": "x", "bytes": 1}}}',
        '{"files": {"a": {"sha256": "x", "bytes": 1e999}}}',
        '{"files": {"run.yaml": {"sha256": "x", "bytes": -5}}}',
        '{"files": {"\\u0000": {"sha256": "x", "bytes": 1}}}',
        '{"epochs": 0}',
        '{"epochs": 1e9}',
        '{"name": ["a"]}',
        '{"name": ""}',
    ):
        yield text.encode()
    yield b"\xff\xfe"
    yield b"\xef\xbb\xbf{}"
