"JupyterLab as a reader has it: a server of its own, a notebook in it, and what a reader does there."

import json
import os
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from playwright.sync_api import Locator, Page, TimeoutError

from specdehaze.demo import free_port

SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},  # draw cells that are out of sight, too
}
SECONDS = 300_000  # ms, for what waits until a kernel has worked through a lesson
# What the application knows of the notebook in front.
CELLS = "window.jupyterapp.shell.currentWidget.content.widgets"
ERRORS = f"""() => {CELLS}.flatMap((cell, k) => Array.from(
    {{ length: cell.model.outputs?.length ?? 0 }}, (_, n) => cell.model.outputs.get(n).toJSON())
    .filter(output => output.output_type === "error")
    .map(output => `cell ${{k}}: ${{output.ename}}: ${{output.evalue}}`))"""
UNRUN = f"""() => {CELLS}.map((cell, k) => [cell.model, k]).filter(([model]) => model.type === "code"
    && model.sharedModel.getSource().trim() && model.executionCount === null).map(([, k]) => k)"""
QUIET = "!lab.querySelector('.specdehaze-busy')?.innerText.trim()"  # no spinner


# Whether the picture of a lab is of the value at which a control stands: its alternative text says of what it is.
AGREES = r"""([lab, control, name]) => {
    const said = lab.querySelector(".specdehaze-picture").alt.split(`${name} `).at(-1);
    const chosen = control.selectedOptions?.[0].textContent.replace(/\u00a0/g, " ");
    if (chosen) return said.startsWith(chosen);
    const [shown, wanted] = [said, control.ariaValueText].map(text => parseFloat(text.replace("\u2212", "-")));
    return Math.abs(shown - wanted) <= 0.006 * Math.abs(wanted) + 1e-9;
}"""


@contextmanager
def serving(folder: Path, own: Path) -> Iterator[str]:
    "JupyterLab over a folder, with settings of its own: yields its address with `{}` for a notebook's path."
    for name, values in SETTINGS.items():
        path = own / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values), encoding="utf-8")
    places = {f"JUPYTER_{name}_DIR": str(own / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    places |= {f"JUPYTERLAB_{name}_DIR": str(own / name.lower()) for name in ("SETTINGS", "WORKSPACES")}
    places["IPYTHONDIR"] = str(own / "ipython")
    port, token = free_port(), secrets.token_hex(8)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += ["--LabApp.expose_app_in_browser=True"]
    command += [f"--ServerApp.port={port}", f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"]
    with open(own / "log.txt", "wb") as log:
        server = subprocess.Popen(command, env=os.environ | places, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_for_server(f"http://127.0.0.1:{port}/api?token={token}", server, own / "log.txt")
        yield f"http://127.0.0.1:{port}/doc/tree/{{}}?token={token}"
    finally:
        server.terminate()
        server.wait(30)


def write_notebook(path: Path, *cells: str) -> None:
    "A notebook of code; it names its kernel, or else JupyterLab would ask for one."
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    notebook = nbformat.v4.new_notebook(metadata=kernel, cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbformat.write(notebook, path)


def wait_for_server(url: str, server: subprocess.Popen, log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(1200):
        assert server.poll() is None, log.read_text(encoding="utf-8", errors="replace")
        try:
            return opener.open(url, timeout=5).close()
        except OSError:
            time.sleep(0.1)
    raise ConnectionError(log.read_text(encoding="utf-8", errors="replace"))


def run_notebook(page: Page, url: str) -> None:
    "Open a notebook, run all its cells, and see that each has run without an error."
    page.goto(url, timeout=SECONDS)
    page.wait_for_function(
        f"() => window.jupyterapp?.shell.currentWidget?.context?.isReady && {CELLS}.length"
        " && window.jupyterapp.shell.currentWidget.context.sessionContext.session?.kernel?.status === 'idle'",
        timeout=SECONDS,
    )
    page.set_default_timeout(SECONDS)
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')")
    wait_until_idle(page)
    assert page.evaluate(ERRORS) == []
    assert page.evaluate(UNRUN) == []


def wait_until_idle(page: Page) -> None:
    kernel = "window.jupyterapp.shell.currentWidget.context.sessionContext.session.kernel.status"
    page.wait_for_function(f"() => {kernel} === 'idle'", timeout=SECONDS)


def shown(lab: Locator) -> dict[str, str]:
    "What a lab shows when its kernel has drawn: its picture, the words for it, and where its controls stand."
    lab.page.wait_for_function(f"lab => {QUIET}", arg=lab.element_handle())
    picture, controls = lab.locator(".specdehaze-picture").first, lab.locator("[role=slider], select")
    at = controls.evaluate_all("all => all.map(one => one.ariaValueText ?? one.value)")
    return {"picture": picture.get_attribute("src"), "alt": picture.get_attribute("alt"), "at": at}


def move(control: Locator) -> None:
    "Move a slider or a menu to another value, by keys as fast as they come."
    if control.evaluate("one => one.matches('select')"):
        names = control.locator("option").evaluate_all("all => all.map(one => one.value)")
        control.select_option(next(name for name in names if name != control.input_value()))
        return
    at_end = float(control.get_attribute("aria-valuenow")) >= float(control.get_attribute("aria-valuemax"))
    control.focus()
    for _ in range(3):
        control.press("ArrowLeft" if at_end else "ArrowRight")


def move_everything(lab: Locator) -> list[str]:
    "Move each control of a lab: the labels of those that changed nothing, or have no name."
    faults, controls = [], lab.locator("[role=slider], select")
    for number in range(controls.count()):
        control, before = controls.nth(number), shown(lab)
        name = control.evaluate("one => one.ariaLabel || one.labels?.[0]?.textContent || ''")
        parts = [lab.element_handle(), control.element_handle(), name]
        try:
            move(control)
            lab.page.wait_for_function(AGREES, arg=parts, timeout=60_000)
        except TimeoutError:
            faults.append(f"{name or number}: the picture stays")
            continue
        after = shown(lab)
        if not name:
            faults.append(f"control {number} has no name")
        if any(after[part] == before[part] for part in before):
            faults.append(f"{name or number}: picture or number stays")
    return faults


def broken_sounds(page: Page) -> list[str]:
    "Players of the page that have no length, or do not go on when they are started."
    return page.evaluate("""async () => {
        const faults = [], players = [...document.querySelectorAll("audio")];
        const ready = player => player.readyState > 0 || new Promise((yes, no) => {
            player.onloadedmetadata = yes; player.onerror = no; player.load(); setTimeout(no, 20000); });
        for (const [k, player] of players.entries()) {
            try { await ready(player); } catch { faults.push(`player ${k} cannot be read`); continue; }
            if (!(player.duration > 0.1)) faults.push(`player ${k} has no length`);
        }
        const player = () => document.querySelector("audio");  // a lab may put another in its place
        const plays = () => { player().muted = true; return player().play().then(() => player().currentTime > 0); };
        let heard = !players.length;
        for (let n = 0; n < 100 && !heard; n++) {
            heard = await plays().catch(() => false);
            await new Promise(done => setTimeout(done, 50));
        }
        if (!heard) faults.push("the first player does not play");
        player()?.pause();
        return faults;
    }""")


def broken_pictures(page: Page) -> int:
    "How many pictures of the page did not load."
    pictures = page.locator(".jp-OutputArea img")
    return pictures.evaluate_all("all => all.filter(one => !one.naturalWidth).length")
