"The demo's server: what visitors get back, what is left of them, and what it asks of the world. Without a browser."

import json
import math
import os
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
import torch
from typer.testing import CliRunner

from specdehaze import cli, demo
from specdehaze.audio import AudioError, audio_info, read_audio, write_audio
from specdehaze.demo import Visitors, answer_visitor, free_port, serving
from specdehaze.demo_answers import MOST_MEGABYTES, Answer
from specdehaze.hum import Hum

pytestmark = [
    pytest.mark.xdist_group("demo"),  # to one worker, so that the server is started once
    pytest.mark.filterwarnings("ignore:.*:Warning:gradio"),  # of Gradio about its own use of other libraries
]


def sound(seconds: float, rate: int = 16_000, channels: int = 1) -> torch.Tensor:
    time = torch.arange(round(seconds * rate)) / rate
    return 0.3 * torch.sin(2 * math.pi * 440 * time) * (time % 1 < 0.5) + 0.02 * torch.randn(channels, len(time))


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def asked():
    "Every address that this process looks up or connects to."
    addresses = []
    look_up, connect = socket.getaddrinfo, socket.socket.connect
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", lambda host, *rest, **options: (
            addresses.append(str(host)) or look_up(host, *rest, **options)))
        patch.setattr(socket.socket, "connect", lambda self, address: (
            addresses.append(str(address[0])) or connect(self, address)))
        yield addresses


@pytest.fixture(scope="module")
def served(asked):
    "The demo, with where its page is and the folder of its files."
    with serving(port=free_port()) as (url, folder):
        yield SimpleNamespace(url=url, folder=folder)
    assert not folder.exists()


class Refused(Exception):
    "What a visitor is told when something does not work."


class Visit:
    "The page as a program: it holds a connection open for as long as it is there, hands files in and asks."

    def __init__(self, url: str):
        self.name, self.api = uuid.uuid4().hex, f"{url}gradio_api/"
        events = requests.get(f"{url}config", timeout=60).json()["dependencies"]
        self.clean = next(event["id"] for event in events if event["api_name"] == "clean")
        self.heart = requests.get(f"{self.api}heartbeat/{self.name}", stream=True, timeout=60)
        self.beats = self.heart.iter_lines()  # forgotten, it would close the connection
        next(self.beats)

    def hand_in(self, path: Path) -> dict:
        answer = requests.post(f"{self.api}upload", files={"files": (path.name, path.read_bytes())}, timeout=60)
        return {"path": answer.json()[0], "meta": {"_type": "gradio.FileData"}}

    def join(self, *data) -> None:
        body = {"data": data, "fn_index": self.clean, "session_hash": self.name}
        if not (answer := requests.post(f"{self.api}queue/join", json=body, timeout=60)).ok:
            raise Refused(answer.text)

    def answer(self) -> tuple[str, Path]:
        with requests.get(f"{self.api}queue/data?session_hash={self.name}", stream=True, timeout=60) as stream:
            messages = (json.loads(line[5:]) for line in stream.iter_lines() if line.startswith(b"data:"))
            last = next(message for message in messages if message["msg"] == "process_completed")
        if not last["success"]:
            raise Refused(last["output"]["error"])
        page, button = last["output"]["data"]
        return page, Path(button["value"]["path"])

    def ask(self, path: Path, method: str = "mmse_lsa", strength: float = 1.0) -> tuple[str, Path]:
        self.join(self.hand_in(path), method, strength)
        return self.answer()

    def close(self) -> None:
        self.heart.close()


@pytest.fixture
def visit(served):
    "Opens the demo; all visits end with the test."
    visits = []

    def enter() -> Visit:
        visits.append(Visit(served.url))
        return visits[-1]

    yield enter
    for one in visits:
        one.close()
    wait_for(lambda: not any(served.folder.iterdir()))


def test_a_visitor_gets_the_file_back_and_leaves_nothing(served, visit, tmp_path):
    source = tmp_path / "talk.flac"
    write_audio(source, sound(1.5, 44_100, 2), 44_100)
    client = visit()
    page, target = client.ask(source)
    before, after = audio_info(source), audio_info(target)
    assert (after.sample_rate, after.channels, after.frames) == (before.sample_rate, before.channels, before.frames)
    assert after.encoding == before.encoding and target.name == "talk_clean.flac"
    assert page.count("<audio ") == 2 and "no mains hum" in page
    assert {path.name for path in served.folder.rglob("*.flac")} == {"talk.flac", "talk_clean.flac"}
    client.close()
    wait_for(lambda: not any(served.folder.iterdir()))


def test_many_visitors_at_once_each_get_their_own(visit, tmp_path):
    def come(number: int) -> tuple[int, int]:
        path = tmp_path / f"{number}.wav"
        write_audio(path, sound(0.5 + 0.1 * number), 16_000)
        return audio_info(visit().ask(path, ("wiener", "voice", "hum")[number % 3])[1]).frames, 8000 + 1600 * number

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(come, range(6)))
    assert all(got == wanted for got, wanted in answers)


def test_a_shared_file_goes_with_the_last_who_uses_it(served, visit, tmp_path):
    path = tmp_path / "same.wav"
    write_audio(path, sound(0.5), 16_000)
    first, second = visit(), visit()
    first.ask(path), second.ask(path)
    assert len([*served.folder.rglob("same.wav")]) == 1 and len([*served.folder.rglob("same_clean.wav")]) == 2
    first.close()
    wait_for(lambda: len([*served.folder.rglob("same_clean.wav")]) == 1)
    assert len([*served.folder.rglob("same.wav")]) == 1
    second.ask(path)


@pytest.mark.parametrize(("content", "words"), [(b"", "empty"), (b"buy more microphones", "not readable as audio")])
def test_a_bad_file_is_explained_and_the_next_one_is_cleaned(visit, tmp_path, content, words):
    bad, good = tmp_path / "bad.wav", tmp_path / "good.wav"
    bad.write_bytes(content)
    write_audio(good, sound(0.5), 16_000)
    client = visit()
    with pytest.raises(Refused, match=f"bad.wav: .*{words}"):
        client.ask(bad)
    assert audio_info(client.ask(good)[1]).frames == 8000


def test_only_what_was_handed_in_is_read(asked, served, visit, tmp_path):
    secret = tmp_path / "secret.wav"
    write_audio(secret, sound(0.5), 16_000)
    around = str(served.folder / os.path.relpath(secret, served.folder))
    visitor = visit()
    for path in (str(secret), around, str(served.folder), "http://example.org/a.wav", "a\0b.wav", ["a"], ""):
        for meta in ({"meta": {"_type": "gradio.FileData"}}, {}):
            visitor.join({"path": path, "url": path} | meta, "wiener", 1.0)
            with pytest.raises(Refused):
                visitor.answer()
    assert "example.org" not in asked
    visitor.join(None, "wiener", 1.0)
    with pytest.raises(Refused, match="nothing to clean"):
        visitor.answer()
    gone = {"path": str(served.folder / "gone.wav"), "meta": {"_type": "gradio.FileData"}}
    visitor.join(gone, "wiener", 1.0)
    with pytest.raises(Refused, match="drop it again"):
        visitor.answer()


def test_calls_that_make_no_sense_are_errors(visit, tmp_path):
    path = tmp_path / "a.wav"
    write_audio(path, sound(0.2), 16_000)
    client = visit()
    for call in (("mmse", 1.0), ("wiener", 7), ("wiener", "much"), (["wiener"], 1.0)):
        with pytest.raises(Refused, match="mmse_lsa|between 0 and 1|'much'|unhashable"):
            client.ask(path, *call)


def test_too_large_a_file_is_not_taken(served):
    content = bytes(MOST_MEGABYTES * 2**20 + 1)
    answer = requests.post(f"{served.url}gradio_api/upload", files={"files": ("large.wav", content)}, timeout=60)
    assert answer.status_code == 413 and "maximum allowed size" in answer.text
    wait_for(lambda: not any(served.folder.iterdir()))


def test_the_page_asks_only_this_server(served):
    answer = requests.get(served.url, timeout=60)
    assert answer.headers["content-security-policy"].startswith("default-src 'self' ")
    loaded = re.findall(r'(?:src|href)="(https?:[^"]+)"', answer.text)
    assert [url for url in loaded if not url.startswith(served.url)] == []


def test_the_server_asks_nobody(asked, visit, tmp_path):
    path = tmp_path / "a.wav"
    write_audio(path, sound(0.5), 16_000)
    visit().ask(path, "voice")
    assert asked and set(asked) <= {"127.0.0.1", "localhost", "::1", "b'127.0.0.1'", "None"}


@pytest.fixture
def slow(monkeypatch):
    "Cleaning takes as long as the test wants, and counts how many are at work."
    work = SimpleNamespace(go_on=threading.Event(), busy=0, most=0, lock=threading.Lock())

    def clean(source, folder, *, progress, **call):
        with work.lock:
            work.busy += 1
            work.most = max(work.most, work.busy)
        try:
            (folder / "half.part").write_bytes(b"sound")
            while not work.go_on.wait(0.02):
                progress(0.5)
            (folder / source.name).write_bytes(b"sound")
            return Answer(folder / source.name, Hum(False, 0.0, (), (), 0.0), "<p>done</p>")
        finally:
            work.busy -= 1

    monkeypatch.setattr(demo, "clean_recording", clean)
    yield work
    work.go_on.set()


def test_work_for_a_page_that_was_closed_stops_and_leaves_nothing(served, visit, slow, tmp_path):
    path = tmp_path / "a.wav"
    write_audio(path, sound(0.5), 16_000)
    client = visit()
    client.join(client.hand_in(path), "wiener", 1.0)
    wait_for(lambda: slow.busy == 1 and any(served.folder.rglob("half.part")))
    client.close()
    wait_for(lambda: slow.busy == 0 and not any(served.folder.iterdir()))


def test_some_are_served_some_wait_and_more_are_told_to_come_back(slow, monkeypatch, tmp_path):
    monkeypatch.setattr(demo, "_AT_ONCE", 2)
    monkeypatch.setattr(demo, "_WAITING", 3)
    path = tmp_path / "a.wav"
    write_audio(path, sound(0.5), 16_000)
    with serving(port=free_port()) as (url, _):
        visitors, full = [Visit(url) for _ in range(7)], []
        handed_in = visitors[0].hand_in(path)
        for number, visitor in enumerate(visitors, 1):
            try:
                visitor.join(handed_in, "wiener", 1.0)
            except Refused as refusal:
                full.append(str(refusal))
            wait_for(lambda number=number: slow.busy == min(number, 2))
        slow.go_on.set()
        answers = [visitor.answer() for visitor in visitors[: 7 - len(full)]]
        for visitor in visitors:
            visitor.close()
    assert slow.most == 2 and len(answers) == 5
    assert len(full) == 2 and all("queue" in refusal.lower() for refusal in full)


def test_what_nobody_has_come_for_is_swept_away(tmp_path):
    visitors, old = Visitors(tmp_path), time.time() - 100
    for name in ("mine/a.wav", "nobodys/a.wav", "fresh/a.wav", "half", "growing"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"sound")
        if name not in ("fresh/a.wav", "growing"):
            os.utime(tmp_path / name, (old, old))
            if "/" in name:
                os.utime((tmp_path / name).parent, (old, old))
    visitors.keep("ann", tmp_path / "mine" / "a.wav")
    visitors.sweep(60)
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "fresh", "growing"}


def test_who_has_left_may_come_back_but_not_by_old_work(tmp_path):
    visitors = Visitors(tmp_path)
    visitors.leave("ann")
    with pytest.raises(AudioError, match="load the page again"):
        visitors.room("ann")
    assert not any(tmp_path.iterdir())
    visitors.welcome("ann")
    assert visitors.room("ann").is_dir()


def test_cleaning_is_what_the_method_does(tmp_path):
    visitors = Visitors(tmp_path)
    source = visitors.room("ann") / "a.wav"
    write_audio(source, sound(1.0), 16_000)
    whole = answer_visitor(visitors, "ann", source, method="wiener", strength=1.0).target
    half = answer_visitor(visitors, "ann", source, method="wiener", strength=0.5).target
    before, after, between = (read_audio(path)[0] for path in (source, whole, half))
    assert torch.allclose(between, (before + after) / 2, atol=1e-4) and not torch.allclose(before, after, atol=1e-3)


@pytest.mark.usefixtures("plain_output")
def test_command_says_what_to_install(monkeypatch):
    monkeypatch.setattr(cli, "find_spec", lambda name: None)
    result = CliRunner().invoke(cli.app, ["demo"])
    assert result.exit_code == 2 and "pip install gradio" in result.output


@pytest.mark.usefixtures("plain_output")
def test_command_says_that_the_port_is_taken(served):
    port = served.url.rstrip("/").rpartition(":")[2]
    result = CliRunner().invoke(cli.app, ["demo", "--port", port])
    assert result.exit_code == 1 and f"port {port}" in result.output and "--port" in result.output


@pytest.mark.usefixtures("plain_output")
def test_command_ends_when_interrupted_and_deletes_its_files(monkeypatch):
    class Interrupted:
        def wait(self):
            raise KeyboardInterrupt

    monkeypatch.setattr(demo.threading, "Event", Interrupted)
    monkeypatch.setattr(demo, "serving", lambda host, port: _Stub())
    result = CliRunner().invoke(cli.app, ["demo", "--port", "1234"])
    assert result.exit_code == 0 and "http://somewhere" in result.output and "deleted" in result.output


class _Stub:
    def __enter__(self):
        return "http://somewhere", Path()

    def __exit__(self, *error):
        return False
