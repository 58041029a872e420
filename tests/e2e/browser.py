# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium for tests of pages, driven over its debugging pipe (file descriptors 3 and 4, messages end in NUL).

    with Browser(w) as browser:
        browser.open(path)
        browser.wait('document.body.dataset.ready')
        browser.press('/')

Skips the case when there is no browser, or it does not come up.
"""
import fcntl
import json
import os
import select
import subprocess
import time

from harness import DEADLINE, Failure, Skip, need_program

KEYS = {'Enter': 13, 'Escape': 27, 'Backspace': 8, 'ArrowLeft': 37, 'ArrowUp': 38, 'ArrowRight': 39, 'ArrowDown': 40}


class Browser:
    def __init__(self, w, width=1200, height=700):
        path = need_program('chromium', 'chromium-browser', 'google-chrome')
        # high numbers, so that moving them to 3 and 4 in the child overwrites neither
        inward, self.to = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 20) for fd in os.pipe()]
        self.back, outward = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 20) for fd in os.pipe()]

        def place():
            os.dup2(inward, 3)
            os.dup2(outward, 4)

        self.process = subprocess.Popen(
            [path, '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run',
             '--user-data-dir=' + w.file('browser'), '--window-size=%d,%d' % (width, height), '--remote-debugging-pipe',
             'about:blank'],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=(3, 4),
            preexec_fn=place)
        w.started.append(self.process)
        os.close(inward)
        os.close(outward)
        self.buffer, self.next, self.session = b'', 0, None
        self.errors = []  # exceptions of the page
        try:
            self.attach()
        except Failure as e:
            raise Skip('the browser does not come up here: %s' % e) from None

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.kill()
        self.process.wait()
        os.close(self.to)
        os.close(self.back)

    def receive(self, deadline):
        while b'\0' not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.back], [], [], left)[0]:
                raise Failure('the browser did not answer')
            chunk = os.read(self.back, 1 << 20)
            if not chunk:
                raise Failure('the browser has ended')
            self.buffer += chunk
        message, self.buffer = self.buffer.split(b'\0', 1)
        return json.loads(message)

    def call(self, method, **parameters):
        self.next += 1
        message = {'id': self.next, 'method': method, 'params': parameters}
        if self.session:
            message['sessionId'] = self.session
        os.write(self.to, json.dumps(message).encode() + b'\0')
        deadline = time.monotonic() + DEADLINE
        while True:
            answer = self.receive(deadline)
            if answer.get('method') == 'Runtime.exceptionThrown':
                self.errors.append(answer['params']['exceptionDetails'])
            if answer.get('id') == self.next:
                if 'error' in answer:
                    raise Failure('%s: %s' % (method, answer['error']))
                return answer['result']

    def attach(self):
        deadline = time.monotonic() + DEADLINE
        while True:
            pages = [t for t in self.call('Target.getTargets')['targetInfos'] if t['type'] == 'page']
            if pages:
                break
            if time.monotonic() > deadline:
                raise Failure('it has no page')
            time.sleep(0.05)
        self.session = self.call('Target.attachToTarget', targetId=pages[0]['targetId'], flatten=True)['sessionId']
        self.call('Page.enable')
        self.call('Runtime.enable')

    def open(self, path, fragment=''):
        self.call('Page.navigate', url='file://' + path + fragment)

    def choose(self, selector, path):
        """A file, in an input element."""
        root = self.call('DOM.getDocument')['root']['nodeId']
        node = self.call('DOM.querySelector', nodeId=root, selector=selector)['nodeId']
        self.call('DOM.setFileInputFiles', nodeId=node, files=[path])

    def run(self, expression):
        """The value of a JavaScript expression in the page; a promise is waited for."""
        result = self.call('Runtime.evaluate', expression=expression, returnByValue=True, awaitPromise=True)
        if 'exceptionDetails' in result:
            raise Failure('%s: %s' % (expression, result['exceptionDetails']))
        return result['result'].get('value')

    def wait(self, expression):
        """Until it is true; while a page loads it may also throw."""
        deadline = time.monotonic() + DEADLINE
        while True:
            try:
                value, why = self.run(expression), ''
            except Failure as e:
                value, why = None, str(e)
            if value:
                return value
            if time.monotonic() > deadline:
                raise Failure('waited in vain for %s %s' % (expression, why))
            time.sleep(0.02)

    def text(self, element):
        return self.run('document.getElementById(%s).textContent' % json.dumps(element))

    def press(self, key):
        more = {'windowsVirtualKeyCode': KEYS[key]} if key in KEYS else {'text': key}
        self.call('Input.dispatchKeyEvent', type='keyDown', key=key, **more)
        self.call('Input.dispatchKeyEvent', type='keyUp', key=key, **more)

    def type(self, text):
        self.call('Input.insertText', text=text)

    def mouse(self, kind, x, y):
        self.call('Input.dispatchMouseEvent', type=kind, x=x, y=y, button='left' if kind != 'mouseMoved' else 'none',
                  clickCount=1 if kind != 'mouseMoved' else 0)

    def click(self, x, y):
        for kind in ('mouseMoved', 'mousePressed', 'mouseReleased'):
            self.mouse(kind, x, y)

    def dark(self):
        self.call('Emulation.setEmulatedMedia', features=[{'name': 'prefers-color-scheme', 'value': 'dark'}])
