#!/usr/bin/env python3
"""`status --watch` on a real terminal: terminal.py PROGRAM [FOLDER]

Starts PROGRAM (img-authz) beside the engine that page.py makes up, and watches it on pseudo terminals of 80 by 24 and 40 by 10. Whatever
ends it (q, SIGINT, SIGTERM, SIGHUP, the gate's end and then q, a terminal that is closed), it ends, the terminal's settings are as before,
its own screen is shown again, and so is the cursor. With FOLDER, what it wrote is put there, for a terminal that shows it."""
import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time

import page

SCREEN, OWN = b"\x1b[?1049h", b"\x1b[?1049l"
HIDDEN, SHOWN = b"\x1b[?25l", b"\x1b[?25h"


class Terminal:
    def __init__(self, command, env, columns, lines):
        self.master, self.slave = os.openpty()
        self.resize(columns, lines)
        self.before = termios.tcgetattr(self.slave)
        self.written = b""
        self.process = subprocess.Popen(command, env=env, stdin=self.slave, stdout=self.slave, stderr=self.slave,
                                        start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))

    def resize(self, columns, lines):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read(self, seconds):
        until = time.time() + seconds
        while (left := until - time.time()) > 0:
            if select.select([self.master], [], [], left)[0]:
                self.written += os.read(self.master, 1 << 16)

    def see(self, text, seconds=20):
        until = time.time() + seconds
        while text.encode() not in self.written:
            assert time.time() < until, f"`{text}` was not shown: {self.written[-2000:]!r}"
            self.read(0.1)

    def type(self, keys):
        os.write(self.master, keys)

    def end(self, how):
        """Waits for its end; says what is wrong then."""
        until = time.time() + 10
        while self.process.poll() is None:
            assert time.time() < until, f"{how}: it does not end"
            self.read(0.05)
        self.read(0.2)
        assert self.process.returncode == 0, f"{how}: exit code {self.process.returncode}: {self.written[-500:]!r}"
        assert termios.tcgetattr(self.slave) == self.before, f"{how}: the terminal's settings are not as before"
        assert self.written.rfind(OWN) > self.written.rfind(SCREEN) >= 0, f"{how}: its own screen is not shown again"
        assert self.written.rfind(SHOWN) > self.written.rfind(HIDDEN) >= 0, f"{how}: the cursor is not shown again"
        self.close()

    def close(self):
        for end in (self.master, self.slave):
            os.close(end)


def test(program, folder):
    with tempfile.TemporaryDirectory() as place:
        socket_path, plugin = os.path.join(place, "docker.sock"), os.path.join(place, "plugin.sock")
        engine = page.unix_http.Server(socket_path, page.Engine)
        threading.Thread(target=engine.serve_forever, daemon=True).start()
        env = {"CONFIG_DIR": page.files(place), "STATE_DIR": os.path.join(place, "state"), "DOCKER_HOST": "unix://" + socket_path,
               "PATH": os.environ["PATH"], "TERM": "xterm-256color", "LOG_FORMAT": "text"}
        log = open(os.path.join(place, "log"), "wb")
        gate = subprocess.Popen([program, "serve", "--socket", plugin], env=env, stdout=log, stderr=log)
        try:
            page.wait(lambda: os.path.exists(plugin) and os.path.exists(os.path.join(place, "state", "status.sock")))
            page.calls(plugin)
            watch = [program, "status", "--watch"]
            for columns, lines in ((80, 24), (40, 10)):
                terminal = Terminal(watch, env, columns, lines)
                terminal.see("q quit")
                for key in b"123456":
                    terminal.type(bytes([key]))
                    terminal.read(0.3)
                    if folder:
                        with open(os.path.join(folder, f"{columns}x{lines}-{chr(key)}.out"), "wb") as file:
                            file.write(terminal.written)
                terminal.resize(columns + 10, lines + 5)
                terminal.read(0.5)
                terminal.type(b"q")
                terminal.end(f"q at {columns} by {lines}")
            for end in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                terminal = Terminal(watch, env, 80, 24)
                terminal.see("q quit")
                terminal.process.send_signal(end)
                terminal.end(end.name)
            for key, name in ((b"\x03", "control-c"), (b"\x1b", "Esc")):
                terminal = Terminal(watch, env, 80, 24)
                terminal.see("q quit")
                terminal.type(key)
                terminal.end(name)
            terminal = Terminal(watch, env, 80, 24)
            terminal.see("q quit")
            terminal.close()
            assert terminal.process.wait(timeout=10) is not None, "a terminal that is closed ends it"
            terminal = Terminal(watch, env, 80, 24)
            terminal.see("Events")
            gate.terminate()
            gate.wait(timeout=20)
            terminal.see("NO ANSWER")
            terminal.type(b"q")
            terminal.end("the gate's end, then q")
            terminal = Terminal(watch, env, 80, 24)
            assert terminal.process.wait(timeout=20) == 1, "without a gate there is nothing to watch"
            terminal.read(0.2)
            assert SCREEN not in terminal.written and termios.tcgetattr(terminal.slave) == terminal.before
        finally:
            if gate.poll() is None:
                gate.kill()
    print("status --watch leaves each terminal as it was")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    test(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
