import os
import pty
import subprocess
import sys

PROGRAM = """
import sys, time
from hafs.core.waiting import waiting
with waiting("loading the model"):
    with waiting("never shown"):
        print("a line", flush=True)
        time.sleep(0.4)
print("done", flush=True)
"""


def on_a_terminal(**streams):
    """What the program shows on a terminal of its own."""
    ours, theirs = pty.openpty()
    streams = {name: theirs if stream == "terminal" else stream for name, stream in streams.items()}
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, env={**os.environ, "TERM": "xterm"}, **streams)
    os.close(theirs)
    shown = b""
    try:
        while block := os.read(ours, 4096):
            shown += block
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    return shown.decode(), (done.stdout or b"").decode()


def test_a_silence_has_a_label_on_a_terminal_and_lines_stand_above_it():
    shown, _ = on_a_terminal(stdout="terminal", stderr="terminal")
    assert "loading the model" in shown
    assert "never shown" not in shown
    assert shown.index("a line") < shown.rindex("loading the model")
    assert shown.rstrip().endswith("done")


def test_redirected_output_reaches_its_file_and_holds_no_spinner():
    shown, written = on_a_terminal(stdout=subprocess.PIPE, stderr="terminal")
    assert written == "a line\ndone\n"
    assert "loading the model" in shown


def test_without_a_terminal_nothing_is_shown():
    done = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("a line\ndone\n", "")
