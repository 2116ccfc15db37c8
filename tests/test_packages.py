"Packages arrive whole and proven or not at all, whatever goes wrong on the way."

import errno
import hashlib
import io
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import threading
import time
import warnings
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from specdehaze import packages
from specdehaze.containers import (
    LoopedNote,
    cat_files,
    clonk_files,
    deb_files,
    hold_note,
    is_held,
    sf2_files,
    unpack_deb,
)
from specdehaze.packages import Package, PackageError, cache_folder, download, fetch_package, known_packages

NAME, VERSION = "sounds", "1:2.0-1"
FILES = {f"./usr/share/sounds/{i:03d}.wav": Random(i).randbytes(5000) for i in range(40)}
FILES |= {"./usr/share/doc/copyright": b"GPL"}


def deb_bytes(files: dict[str, bytes], *, packing: str = "xz", links: dict[str, str] | None = None) -> bytes:
    "A .deb of these files; its checksums and dates are left at zero."
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode=f"w:{packing}") as archive:
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    suffix = f".{packing}" if packing else ""
    parts = [("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd"), (f"data.tar{suffix}", tar.getvalue())]
    shell = b"!<arch>\n"
    for name, body in parts:
        header = f"{name:16}{0:<12}{0:<6}{0:<6}{'100644':8}{len(body):<10}`\n"
        shell += header.encode() + body + b"\n" * (len(body) % 2)
    return shell


DEB = deb_bytes(FILES)
WANTED = Package(NAME, VERSION, len(DEB), hashlib.sha256(DEB).hexdigest())


class Mirror(BaseHTTPRequestHandler):
    "Serves one .deb, by Range too if it may, slowly and brokenly if told so; remembers what it was asked for."

    body = DEB
    ranges = True
    pause = 0.0  # s for each 4 kB
    stop_after = None  # bytes, then hang up
    asked: list[str | None]

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self.asked.append(self.headers["Range"])
        if self.path.startswith("/gone/"):
            return self.send_error(404)
        start = int(self.headers["Range"][6:-1]) if self.ranges and self.headers["Range"] else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(self.body) - start))
        self.end_headers()
        try:
            for at in range(start, len(self.body), 4096):
                if self.stop_after is not None and at - start >= self.stop_after:
                    return None
                self.wfile.write(self.body[at : at + 4096])
                time.sleep(self.pause)
        except OSError:
            return None


@pytest.fixture
def mirror(monkeypatch):
    "A mirror on this machine; the class may be changed while it runs."
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    handler = type("Handler", (Mirror,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    handler.url = f"http://127.0.0.1:{server.server_port}"
    yield handler
    server.shutdown()
    server.server_close()


class Apt:
    "A stand-in for apt-get on PATH."

    def __init__(self, folder: Path, monkeypatch):
        self.script = folder / "bin" / "apt-get"
        self.script.parent.mkdir()
        monkeypatch.setenv("PATH", f"{self.script.parent}:/usr/bin:/bin")

    def answers(self, **words: str) -> None:
        "What it says when asked by the machine's lists, or by our own after an update; nothing given: it fails."
        unknown = "echo 'E: Unable to locate package' >&2; exit 100"
        machine, own = (f'echo "{words[key]}"' if key in words else unknown for key in ("machine", "own"))
        updated = self.script.with_name("updated")
        own = f"test -e {updated} && {own} || {{ {unknown}; }}"
        self.script.write_text(
            f'#!/bin/sh\ncase "$*" in *lists=*update) touch {updated} ;; '
            f"*lists=*--print-uris*) {own} ;; *--print-uris*) {machine} ;; *) exit 99 ;; esac\n"
        )
        self.script.chmod(0o755)

    def offers(self, url: str, package: Package = WANTED) -> None:
        self.answers(machine=offer(url, package))


def offer(url: str, package: Package = WANTED) -> str:
    "A line of apt-get download --print-uris."
    return f"'{url}/{package.deb}' {package.deb} {package.bytes} SHA256:{package.sha256}"


@pytest.fixture
def apt(tmp_path, monkeypatch) -> Apt:
    monkeypatch.setattr(packages, "known_packages", lambda: {NAME: WANTED})
    return Apt(tmp_path, monkeypatch)


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "cache"


def files_in(folder: Path) -> dict[str, bytes]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {f"./{path.relative_to(folder).as_posix()}": path.read_bytes() for path in paths}


def leftovers(cache: Path) -> list[str]:
    "Whatever stands in the cache beside whole packages, locks and apt's own lists."
    found = [*cache.glob("downloads/[!.]*"), *cache.glob("packages/.*")]
    return [path.name for path in found]


def test_table_pins_every_package():
    assert len(known_packages()) == 47 and all(p.bytes > 1e6 and len(p.sha256) == 64 for p in known_packages().values())


def test_cache_is_where_the_user_wants_it(monkeypatch):
    monkeypatch.delenv("SPECDEHAZE_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/a")
    assert cache_folder() == Path("/home/a/.cache/specdehaze")
    monkeypatch.setenv("XDG_CACHE_HOME", "/b")
    assert cache_folder() == Path("/b/specdehaze")
    monkeypatch.setenv("SPECDEHAZE_CACHE", "~/c")
    assert cache_folder() == Path("/home/a/c")


def test_package_is_fetched_checked_and_unpacked_once(apt, mirror, cache):
    apt.offers(mirror.url)
    steps = []
    folder = fetch_package(NAME, folder=cache, progress=lambda done, size: steps.append((done, size)))
    assert folder == cache / "packages" / f"{NAME}_{VERSION}" and files_in(folder) == FILES
    assert steps == sorted(steps) and steps[-1] == (len(DEB), len(DEB)) and leftovers(cache) == []
    shutil.rmtree(apt.script.parent)
    assert fetch_package(NAME, folder=cache) == folder and len(mirror.asked) == 1


def test_empty_lists_are_made_up_for_by_lists_of_our_own(apt, mirror, cache):
    apt.answers(own=offer(mirror.url))
    assert files_in(fetch_package(NAME, folder=cache)) == FILES


def test_stale_lists_are_made_up_for_too(apt, mirror, cache):
    apt.answers(machine=offer(f"{mirror.url}/gone"), own=offer(mirror.url))
    assert files_in(fetch_package(NAME, folder=cache)) == FILES and len(mirror.asked) == 2
    shutil.rmtree(cache)
    apt.answers(machine=offer(f"{mirror.url}/gone"), own=offer(f"{mirror.url}/gone"))
    with pytest.raises(PackageError, match="404"):
        fetch_package(NAME, folder=cache)


def test_another_version_comes_with_a_warning(apt, mirror, cache):
    apt.offers(mirror.url, Package(NAME, "3", WANTED.bytes, WANTED.sha256))
    with pytest.warns(UserWarning, match="may differ"):
        folder = fetch_package(NAME, folder=cache)
    assert folder.name == f"{NAME}_3" and files_in(folder) == FILES and leftovers(cache) == []
    with pytest.warns(UserWarning, match="delete it"):
        assert fetch_package(NAME, folder=cache) == folder
    assert len(mirror.asked) == 1


def test_the_same_version_with_another_hash_is_refused(apt, mirror, cache):
    apt.offers(mirror.url, Package(NAME, VERSION, WANTED.bytes, "0" * 64))
    with pytest.raises(PackageError, match="don't trust it"):
        fetch_package(NAME, folder=cache)
    assert mirror.asked == [] and not (cache / "packages").exists()


def test_a_file_that_differs_from_its_hash_is_deleted(apt, mirror, cache):
    apt.offers(mirror.url)
    mirror.body = DEB[:-1] + b"!"
    with pytest.raises(PackageError, match="wrong hash"):
        fetch_package(NAME, folder=cache)
    assert leftovers(cache) == [] and not (cache / "packages").exists()
    mirror.body = DEB
    assert files_in(fetch_package(NAME, folder=cache)) == FILES


def test_a_broken_connection_goes_on_where_it_stopped(apt, mirror, cache):
    apt.offers(mirror.url)
    mirror.stop_after = 90_000
    with pytest.raises(PackageError, match="Call again"):
        fetch_package(NAME, folder=cache)
    (part,) = cache.glob("downloads/*.part")
    stopped = part.stat().st_size
    assert 0 < stopped < len(DEB) and part.read_bytes() == DEB[:stopped]
    mirror.stop_after = None
    assert files_in(fetch_package(NAME, folder=cache)) == FILES and mirror.asked == [None, f"bytes={stopped}-"]


@pytest.mark.parametrize("ranges", [True, False])
@given(kept=st.integers(0, len(DEB)))
def test_download_ends_with_the_same_file_wherever_it_stopped(ranges, kept, tmp_path_factory):
    handler = type("Handler", (Mirror,), {"asked": [], "ranges": ranges})
    part = tmp_path_factory.mktemp("part") / "x"
    part.write_bytes(DEB[:kept])
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        download(f"http://127.0.0.1:{server.server_port}/x", part, size=len(DEB))
    finally:
        server.shutdown()
        server.server_close()
    assert part.read_bytes() == DEB


SCRIPT = """
import sys
from pathlib import Path
from specdehaze import packages
packages.known_packages = lambda: {{{name!r}: packages.Package({name!r}, {version!r}, {size}, {sha256!r})}}
print(packages.fetch_package({name!r}, folder=Path(sys.argv[1])))
"""


def start(cache: Path, package: Package = WANTED) -> subprocess.Popen:
    "The same fetch in a process of its own, to be killed."
    script = SCRIPT.format(name=NAME, version=VERSION, size=package.bytes, sha256=package.sha256)
    return subprocess.Popen([sys.executable, "-c", script, str(cache)], stdout=subprocess.PIPE, text=True)


def kill_when(process: subprocess.Popen, condition) -> None:
    "Kill -9 as soon as the condition holds, within a minute."
    end = time.monotonic() + 60
    while not condition():
        assert process.poll() is None and time.monotonic() < end, "it ended before it could be killed"
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_killed_while_downloading_it_goes_on(apt, mirror, cache):
    apt.offers(mirror.url)
    mirror.pause = 0.05
    kill_when(start(cache), lambda: any(path.stat().st_size > 0 for path in cache.glob("downloads/*.part")))
    assert not (cache / "packages").exists()
    mirror.pause = 0.0
    assert files_in(fetch_package(NAME, folder=cache)) == FILES
    assert len(mirror.asked) == 2 and mirror.asked[1] not in (None, "bytes=0-") and leftovers(cache) == []


def test_killed_while_unpacking_it_unpacks_again(apt, mirror, cache, monkeypatch):
    many = {f"./usr/{i:05d}.wav": b"sound" for i in range(5000)}
    mirror.body = deb_bytes(many)
    package = Package(NAME, VERSION, len(mirror.body), hashlib.sha256(mirror.body).hexdigest())
    monkeypatch.setattr(packages, "known_packages", lambda: {NAME: package})
    apt.offers(mirror.url, package)
    kill_when(start(cache, package), lambda: any(cache.glob("packages/.*/usr/00100.wav")))
    assert not any(cache.glob("packages/[!.]*")) and any(cache.glob("packages/.*"))
    assert files_in(fetch_package(NAME, folder=cache)) == many
    assert len(mirror.asked) == 1 and leftovers(cache) == []


def test_killed_before_cleaning_up_it_cleans_up_later(apt, mirror, cache):
    apt.offers(mirror.url)
    fetch_package(NAME, folder=cache)
    (cache / "downloads" / f"{WANTED.deb}.part").write_bytes(DEB)
    fetch_package(NAME, folder=cache)
    assert leftovers(cache) == []


def test_two_at_once_fetch_it_once(apt, mirror, cache):
    apt.offers(mirror.url)
    mirror.pause = 0.005
    both = [start(cache), start(cache)]
    answers = {process.communicate(timeout=60)[0].strip() for process in both}
    assert answers == {str(cache / "packages" / f"{NAME}_{VERSION}")} and len(mirror.asked) == 1


def test_a_file_put_there_by_hand_needs_no_apt(apt, cache, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(PackageError, match=f"no apt-get here.*apt-get download {NAME}={VERSION}.*downloads"):
        fetch_package(NAME, folder=cache)
    laid = cache / "downloads" / "sounds_1%3a2.0-1_all.deb"
    laid.write_bytes(DEB[:-1])
    with pytest.raises(PackageError, match="its hash differs"):
        fetch_package(NAME, folder=cache)
    laid.write_bytes(DEB)
    assert files_in(fetch_package(NAME, folder=cache)) == FILES and leftovers(cache) == []


def test_what_apt_says_reaches_the_user(apt, cache):
    apt.answers()
    with pytest.raises(PackageError, match="Unable to locate package.*put sounds_1%3a2"):
        fetch_package(NAME, folder=cache)
    apt.answers(machine="", own="")
    with pytest.raises(PackageError, match="no address"):
        fetch_package(NAME, folder=cache)


def test_no_network(apt, cache):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        apt.offers(f"http://127.0.0.1:{closed.getsockname()[1]}")
    with pytest.raises(PackageError, match="refused.*Call again"):
        fetch_package(NAME, folder=cache)


def test_a_name_that_is_not_on_the_list(cache):
    with pytest.raises(ValueError, match="bucklespring-data"):
        fetch_package("nothing", folder=cache)
    assert not cache.exists()


def test_a_full_disk_leaves_no_half_folder(apt, mirror, cache, monkeypatch):
    apt.offers(mirror.url)
    write, calls = Path.write_bytes, []

    def write_a_few(path, content):
        calls.append(path)
        if len(calls) > 10:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", write_a_few)
        with pytest.raises(PackageError, match="no room for sounds.*SPECDEHAZE_CACHE"):
            fetch_package(NAME, folder=cache)
    assert list((cache / "packages").iterdir()) == []
    assert files_in(fetch_package(NAME, folder=cache)) == FILES and len(mirror.asked) == 1


@pytest.mark.parametrize("name", ["/etc/a.wav", "../a.wav", "./usr/../../a.wav", "usr\\..\\..\\a.wav"])
def test_a_name_that_leads_out_is_refused(tmp_path, name):
    deb = tmp_path / "trap.deb"
    deb.write_bytes(deb_bytes({"./a.wav": b"sound", name: b"trap"}))
    with pytest.raises(PackageError, match="leads out"):
        unpack_deb(deb, tmp_path / "shelf" / "trap")
    assert list((tmp_path / "shelf").iterdir()) == [] and not (tmp_path / "a.wav").exists()


def test_a_name_in_a_container_that_leads_out_is_refused(tmp_path):
    memory, deb = io.BytesIO(), tmp_path / "trap.deb"
    with zipfile.ZipFile(memory, "w") as archive:
        archive.writestr("../../../a.wav", b"trap")
    deb.write_bytes(deb_bytes({"./usr/x.pk3": memory.getvalue()}))
    with pytest.raises(PackageError, match="leads out"):
        unpack_deb(deb, tmp_path / "shelf" / "trap")


def test_links_are_not_followed(tmp_path):
    (tmp_path / "outside").mkdir()
    deb = tmp_path / "trap.deb"
    deb.write_bytes(deb_bytes({"./usr/a.wav": b"sound"}, links={"./usr": str(tmp_path / "outside"), "./b.wav": "/etc"}))
    folder = unpack_deb(deb, tmp_path / "shelf")
    assert files_in(folder) == {"./usr/a.wav": b"sound"} and list((tmp_path / "outside").iterdir()) == []


@pytest.mark.parametrize("packing", ["", "gz", "xz"])
def test_every_packing_is_read(tmp_path, packing):
    path = tmp_path / "a.deb"
    path.write_bytes(deb_bytes(FILES, packing=packing))
    assert dict(deb_files(path)) == FILES


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="this Python reads zstandard")
def test_zstandard_says_which_python_reads_it(tmp_path):
    path = tmp_path / "a.deb"
    path.write_bytes(deb_bytes(FILES).replace(b"data.tar.xz ", b"data.tar.zst"))
    with pytest.raises(PackageError, match=r"Python reads from version 3\.14"):
        list(deb_files(path))


BROKEN = [b"", b"<html>", b"!<arch>\n", DEB[:-3000], DEB[:400], DEB[:300] + bytes(500) + DEB[800:]]


@pytest.mark.parametrize("content", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_package_is_named(tmp_path, content):
    path = tmp_path / "broken.deb"
    path.write_bytes(content)
    with pytest.raises(PackageError, match="broken.deb"):
        unpack_deb(path, tmp_path / "shelf" / "a")
    assert list(tmp_path.glob("shelf/*")) == []


@pytest.mark.parametrize("suffix", ["pk3", "ocg", "cat", "sf2"])
@given(content=st.binary(max_size=300))
def test_a_broken_container_is_named(suffix, content, tmp_path_factory):
    folder = tmp_path_factory.mktemp("broken")
    path = folder / "broken.deb"
    path.write_bytes(deb_bytes({f"./usr/x.{suffix}": content}))
    try:
        unpack_deb(path, folder / "a")
    except PackageError as error:
        assert "broken.deb" in str(error) or "leads out" in str(error)
        assert [entry.name for entry in folder.iterdir()] == ["broken.deb"]


def test_only_audio_and_papers_are_kept(tmp_path):
    kept = ["A.OGG", "b.Flac", "copyright", "README.Debian", "readme.txt.gz", "Authors.txt", "LICENSE"]
    left = ["license_plate.png", "readme.lua", "a.ogg.txt", "authors.cfg", "wav"]
    path = tmp_path / "a.deb"
    path.write_bytes(deb_bytes({f"./{name}": b"x" for name in kept + left}))
    assert {file.name for file in unpack_deb(path, tmp_path / "a").iterdir()} == set(kept)


def note(waveform, loop, *, name="Tenor F5", rate=8000) -> LoopedNote:
    return LoopedNote(name, np.asarray(waveform, dtype=np.int16), loop, rate)


@given(st.integers(0, 50), st.integers(1, 50), st.integers(0, 20))
def test_holding_a_note_goes_round_its_loop(start, length, rest):
    waveform = np.arange(start + length + rest)
    held = hold_note(note(waveform, (start, start + length), rate=1000), seconds=0.4)
    at, expected = 0, []
    for _ in range(350):  # before the fade
        expected.append(waveform[at])
        at = at + 1 if at + 1 < start + length else start
    assert len(held) == 400 and held[:350].tolist() == expected and held[-1] == 0


TONE = 8000 * np.sin(2 * np.pi * 440 / 8000 * np.arange(8000))


@pytest.mark.parametrize("name", ["Tenor F5", "tp_c6", "pan flute f#7(L)", "EP 2 C 8(R)", "OcarA4", "Bass Bb2"])
def test_a_pitched_name_is_known(name):
    assert is_held(note(TONE, (2000, 6000), name=name))


@pytest.mark.parametrize("name", ["Gun", "808 Tom 4", "Std Kick 6(L)", "Piccolo 1-2(R)", "Applause", "Strings E3L", ""])
def test_a_name_without_pitch_is_known(name):
    assert not is_held(note(TONE, (2000, 6000), name=name))


@pytest.mark.parametrize("loop", [(0, 8000), (700, 6000), (1200, 3100), (5000, 6100), (2000, 8001)])
def test_a_loop_that_holds_no_note_is_known(loop):
    assert not is_held(note(TONE, loop))


def test_a_note_that_fades_is_not_held():
    for gain, held in ((0.4, True), (0.25, False)):
        assert is_held(note(TONE * np.where(np.arange(8000) < 3000, 1, gain), (4000, 8000))) == held


def soundfont(*notes: tuple[str, np.ndarray, tuple[int, int]]) -> bytes:
    def chunk(name, body):
        return name + len(body).to_bytes(4, "little") + body + b"\0" * (len(body) % 2)

    samples, heads, at = b"", b"", 0
    for name, waveform, loop in notes:
        places = (at, at + len(waveform), at + loop[0], at + loop[1], 8000)
        heads += name.encode().ljust(20, b"\0") + b"".join(n.to_bytes(4, "little") for n in places) + bytes(6)
        samples += waveform.astype("<i2").tobytes()
        at += len(waveform)
    sound, table = chunk(b"smpl", samples), chunk(b"shdr", heads + bytes(46))
    return chunk(b"RIFF", b"sfbk" + chunk(b"LIST", b"sdta" + sound) + chunk(b"LIST", b"pdta" + table))


def test_a_stereo_pair_becomes_its_mean_if_in_step():
    left, right = np.round(TONE), np.round(TONE / 2)
    ((name, mean),) = sf2_files(soundfont(("F#5(L)", left, (2000, 6000)), ("F#5(R)", right, (2000, 6000))))
    assert name == "Fs5.wav" and np.array_equal(
        np.frombuffer(mean[44:], "<i2")[:6000], np.round((left + right) / 2)[:6000].astype(np.int16)
    )
    ((_, alone),) = sf2_files(soundfont(("F#5(L)", left, (2000, 6000)), ("F#5(R)", right, (2000, 5999))))
    assert np.array_equal(np.frombuffer(alone[44:], "<i2")[:6000], left[:6000].astype(np.int16))


def test_sounds_without_a_quoted_title_are_named_all_the_same():
    content = struct.pack("<4I", 16, 3, 25, 1) + b"\x05a/b#\0" + b"one" + b"\x00" + b"2"
    authors = b"00_a_bs.wav: a/b#\n01.wav: \n"
    assert dict(cat_files(content)) == {"00_a_bs.wav": b"one", "01.wav": b"2", "authors.txt": authors}


def test_an_empty_group_holds_nothing():
    assert list(clonk_files(bytes([237]) * 204)) == []


def test_a_real_package_arrives(tmp_path):
    if not shutil.which("apt-get"):
        pytest.skip("no apt-get here")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            folder = fetch_package("bucklespring-data", folder=tmp_path)
        except PackageError as error:
            pytest.skip(f"no network: {error}")
    sounds = list(folder.rglob("*.wav"))
    assert len(sounds) > 100 and all(path.read_bytes()[:4] == b"RIFF" for path in sounds)
    assert list(folder.rglob("copyright"))
