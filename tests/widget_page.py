"A widget without a notebook: its script in a page, its Python here, and between them what a kernel would carry."

import base64
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anywidget
import pytest

CHROMIUM = shutil.which("chromium")
ADDRESS = "http://localhost/"  # a page from here may use the microphone
OWN = set(anywidget.AnyWidget.class_trait_names(sync=True)) | {"_esm", "_css", "_anywidget_id"}

PAGE = """<!doctype html><meta charset="utf-8"><div id="root"></div>
<script type="module">
const acts = {}, state = {}, dirty = {};
const fire = name => (acts[`change:${name}`] ?? []).forEach(act => act());
const bytes = text => new DataView(Uint8Array.from(atob(text), letter => letter.charCodeAt(0)).buffer);
const alone = value => value?.base64 === undefined ? value : bytes(value.base64);
const decode = value => Array.isArray(value) ? value.map(decode) : alone(value);
const encode = buffer => btoa(Array.from(new Uint8Array(buffer), byte => String.fromCharCode(byte)).join(""));
window.fromPython = changes => {
  Object.entries(changes).forEach(([name, value]) => { state[name] = decode(value); });
  Object.keys(changes).forEach(fire);
};
let turn = Promise.resolve();
const tell = note => { turn = turn.then(() => window.toPython(note)).then(window.fromPython); };
const model = {
  get: name => state[name],
  set: (name, value) => { state[name] = dirty[name] = value; fire(name); },
  save_changes: () => { tell({ state: { ...dirty } }); Object.keys(dirty).forEach(name => delete dirty[name]); },
  send: (content, _, buffers = []) => tell({ content, buffers: buffers.map(encode) }),
  on: (name, act) => { (acts[name] ??= []).push(act); },
  off: (name, act) => { acts[name] = acts[name].filter(one => one !== act); },
};
const { esm, css, start } = await window.toPython({ begin: true });
window.fromPython(start);
document.head.append(Object.assign(document.createElement("style"), { textContent: css }));
const widget = await import(URL.createObjectURL(new Blob([esm], { type: "text/javascript" })));
widget.default.render({ model, el: document.getElementById("root") });
window.shown = true;
</script>"""


def coded(value: object) -> object:
    "A value as JSON takes it."
    if isinstance(value, (list, tuple)):
        return [coded(one) for one in value]
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


class Bridge:
    "The Python side: takes what the page says, and answers with what has changed in the widget."

    def __init__(self, widget: anywidget.AnyWidget):
        self.widget, self.names = widget, sorted(set(widget.trait_names(sync=True)) - OWN)
        self.known: dict = {}

    def changes(self) -> dict:
        now = {name: coded(getattr(self.widget, name)) for name in self.names}
        fresh = {name: value for name, value in now.items() if name not in self.known or self.known[name] != value}
        self.known |= fresh
        return fresh

    def __call__(self, note: dict) -> dict:
        if "begin" in note:
            return {"esm": self.widget._esm, "css": self.widget._css, "start": self.changes()}
        if "state" in note:
            self.known |= note["state"]
            self.widget.set_state(note["state"])
        else:
            buffers = [memoryview(base64.b64decode(buffer)) for buffer in note["buffers"]]
            self.widget._handle_custom_msg(note["content"], buffers)
        return self.changes()


def until(page, true: Callable[[], bool], seconds: float = 15.0) -> bool:
    "Let the page work until something is true of its widget; False if it does not become so."
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        page.wait_for_timeout(20)
    return true()


@contextmanager
def shown(widget: anywidget.AnyWidget, *options: str, script: str = "", **context) -> Iterator:
    "A page with a widget in it and no network; in the end it had no problems. Skips the test without a browser."
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    bridge, problems = Bridge(widget), []
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *options])
        page = browser.new_context(viewport={"width": 1100, "height": 900}, **context).new_page()
        page.route("**", lambda route: problems.append(route.request.url) or route.abort())
        page.route(ADDRESS, lambda route: route.fulfill(body=PAGE, content_type="text/html"))
        page.route("data:**", lambda route: route.continue_())
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.expose_function("toPython", bridge)
        page.add_init_script(script)
        page.goto(ADDRESS)
        page.wait_for_function("window.shown")
        page.push = lambda: page.evaluate("changes => fromPython(changes)", bridge.changes())
        yield page
        browser.close()
    assert [problem for problem in problems if "favicon" not in problem] == []
