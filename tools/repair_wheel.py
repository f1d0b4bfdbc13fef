"""Make the wheel that is published of one that was built on Linux, by auditwheel.

    python tools/repair_wheel.py WHEEL FOLDER

auditwheel brings libgomp into it and strips all libraries of their symbols. Here its license is added, which no wheel
without it needs, and the archive is written by libdeflate, smaller than zlib writes it. It needs auditwheel, patchelf
and the package deflate.
"""

import base64
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import deflate

LICENSE = "licenses/libgomp.txt"
LEVEL = 12  # the highest of libdeflate


class Compressor:
    """What `zipfile` expects of zlib's compressor."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def compress(self, data: bytes) -> bytes:
        self.parts.append(bytes(data))
        return b""

    def flush(self) -> bytes:
        return bytes(deflate.deflate_compress(b"".join(self.parts), LEVEL))


def with_license(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return the files of a wheel with the license of the libgomp that is among them."""
    if not any("/libgomp" in name for name in files):
        return files
    (metadata,) = (name for name in files if name.endswith(".dist-info/METADATA"))
    head, separator, text = files[metadata].partition(b"\n\n")
    files = files | {metadata: head + f"\nLicense-File: {LICENSE}".encode() + separator + text}
    files[f"{metadata.removesuffix('METADATA')}licenses/{LICENSE}"] = Path(__file__).parents[1].joinpath(
        LICENSE).read_bytes()
    return files


def record(files: dict[str, bytes], name: str) -> bytes:
    """Return the list of files with their hashes, which is the file `name` itself."""
    lines = []
    for file, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
        lines.append(f"{name},," if file == name else f"{file},sha256={digest},{len(data)}")
    return "\n".join([*lines, ""]).encode()


def write_again(wheel: Path) -> None:
    """Write a wheel with the license, and smaller."""
    with zipfile.ZipFile(wheel) as archive:
        entries = {entry.filename: entry for entry in archive.infolist() if not entry.is_dir()}
        files = with_license({name: archive.read(entry) for name, entry in entries.items()})
    (listed,) = (name for name in files if name.endswith(".dist-info/RECORD"))
    files[listed] = b""
    files[listed] = record(files, listed)
    zipfile._get_compressor = lambda *_: Compressor()  # type: ignore[attr-defined]
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            like = entries.get(name, entries[listed])
            entry = zipfile.ZipInfo(name, like.date_time)
            entry.external_attr, entry.compress_type = like.external_attr, zipfile.ZIP_DEFLATED
            archive.writestr(entry, data)


def main() -> None:
    """Repair the wheel, and write it to the folder."""
    wheel, folder = map(Path, sys.argv[1:])
    with tempfile.TemporaryDirectory() as made:
        subprocess.run(["auditwheel", "repair", "--strip", "--wheel-dir", made, str(wheel)], check=True)
        (repaired,) = Path(made).glob("*.whl")
        write_again(repaired)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / repaired.name).write_bytes(repaired.read_bytes())


if __name__ == "__main__":
    main()
