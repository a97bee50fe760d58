"""Chromium, driven by chromedriver over the protocol WebDriver."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')
DRIVER = shutil.which('chromedriver')


class Browser:
    def __init__(self, url: str, folder: Path, font_size: int) -> None:
        self._url = url
        arguments = [
            '--headless',
            *(['--no-sandbox'] if os.getuid() == 0 else []),
            '--disable-gpu',
            '--no-first-run',
            '--disable-background-networking',
            f'--user-data-dir={folder / "profile"}',
        ]
        prefs = {'webkit.webprefs.default_font_size': font_size}
        options = {'binary': CHROMIUM, 'args': arguments, 'prefs': prefs}
        wanted = {'alwaysMatch': {'goog:chromeOptions': options}}
        made = self._ask('POST', '/session', {'capabilities': wanted})
        self._url += f'/session/{made["sessionId"]}'

    def _ask(self, method: str, path: str, data: Any = None) -> Any:
        body = None if data is None else json.dumps(data).encode()
        request = urllib.request.Request(self._url + path, body, method=method)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)['value']

    def command(self, name: str, **params: Any) -> Any:
        """Run a command of the protocol of Chrome's developer tools."""
        return self._ask('POST', '/goog/cdp/execute', {'cmd': name, 'params': params})

    def get(self, url: str) -> None:
        self._ask('POST', '/url', {'url': url})

    def run(self, script: str, *args: Any) -> Any:
        return self._ask('POST', '/execute/sync', {'script': script, 'args': args})

    def wait(self, script: str) -> Any:
        """Return the first value of a script that is not empty, while a page is loaded."""
        for _attempt in range(100):
            if found := self.run(script):
                return found
            time.sleep(0.1)
        raise TimeoutError(script)

    def resize(self, width: int, height: int = 900) -> None:
        self.command(
            'Emulation.setDeviceMetricsOverride',
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )

    def emulate(self, media: str, **features: str) -> None:
        """Show pages for ``print`` or ``screen``."""
        named = [{'name': name.replace('_', '-'), 'value': features[name]} for name in features]
        self.command('Emulation.setEmulatedMedia', media=media, features=named)

    def screenshot(self, path: Path) -> None:
        shot = self.command('Page.captureScreenshot', captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot['data']))

    def quit(self) -> None:
        self._ask('DELETE', '')


@contextlib.contextmanager
def browser(folder: Path, font_size: int = 16) -> Iterator[Browser]:
    driver = subprocess.Popen(
        [str(DRIVER), '--port=0'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert driver.stdout is not None
        port = next(
            found.group(1)
            for line in driver.stdout
            if (found := re.search(r'started successfully on port (\d+)', line))
        )
        made = Browser(f'http://127.0.0.1:{port}', folder, font_size)
        try:
            yield made
        finally:
            made.quit()
    finally:
        driver.terminate()
        driver.wait()
