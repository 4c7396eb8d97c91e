"""What a process of the fault suite has loaded before it is forked.

The libraries, and what they do once in a process: a short run in a folder of its own leaves grammars parsed, templates
compiled and tables of names built. It works in one thread, which a fork keeps.
"""

import contextlib
import gc
import os
import signal
import sys
import tempfile
import warnings
from pathlib import Path

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")

    import peft  # noqa: F401
    import torch
    import torch.utils.tensorboard
    import transformers  # noqa: F401

    import hafs.train
    import hafs.training.session

torch.set_num_threads(1)


def warm_up():
    """Train once, unheard; then be as before, in one thread."""
    import harness

    arguments, place, environment = sys.argv, Path.cwd(), dict(os.environ)
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    with tempfile.TemporaryDirectory() as folder, Path(os.devnull).open("w") as nowhere:
        os.chdir(folder)
        harness.write_rows(Path(folder))
        sys.argv = ["hafs.train", *harness.tiny_runs.with_common("name=run", common=harness.TORMENTED)]
        with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere), contextlib.suppress(SystemExit):
            hafs.train.main()
        os.chdir(place)
    sys.argv = arguments
    os.environ.clear()
    os.environ.update(environment)
    for number, handler in handlers.items():
        if signal.getsignal(number) != handler:
            signal.signal(number, handler)
    threads = list(Path("/proc/self/task").iterdir())
    assert len(threads) == 1, f"{len(threads)} threads are left: a fork would lose them"


warm_up()
gc.collect()
gc.freeze()  # a collection in a forked process would touch, and so copy, every page that holds an object
