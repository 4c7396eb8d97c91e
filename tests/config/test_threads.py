"""Configs are composed in any thread, and inside an application that uses Hydra itself."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobRuntime
from hydra.version import getbase
from omegaconf import OmegaConf

from hafs import council
from hafs.config import compose, conf_folder


def test_councils_are_made_in_eight_threads_concurrently():
    panels, start = ["asm", "asm,debug", "yaze"], threading.Barrier(8)

    def make(number):
        start.wait(30)
        wanted = [panels[(number + turn) % 3] for turn in range(3)]
        return [(names, [*council([f"expert={names}", "provider=scripted"]).panel.experts]) for names in wanted]

    with ThreadPoolExecutor(8) as pool:
        made = [pair for pairs in pool.map(make, range(8)) for pair in pairs]
    assert len(made) == 24
    assert all(names.split(",") == experts for names, experts in made)


@pytest.fixture
def application(tmp_path):
    """An application with a Hydra of its own."""
    (tmp_path / "app.yaml").write_text("name: theirs\nthreads: 2\n")
    with hydra.initialize_config_dir(str(tmp_path), job_name="theirs", version_base="1.2"):
        yield lambda: hydra.compose("app", ["threads=3"])


def test_an_application_keeps_its_own_hydra(application):
    before = GlobalHydra.instance().hydra
    expected = application()
    assert compose("ask", ["expert=asm"]).experts.asm.name == "asm"
    assert council(["provider=scripted"]).panel.experts
    assert GlobalHydra.instance().hydra is before
    assert str(getbase()) == "1.2" and JobRuntime.instance().get("name") == "theirs"
    assert application() == expected


def test_an_application_composes_while_councils_are_made(application):
    expected, over, wrong = application(), threading.Event(), []

    def theirs():
        while not over.is_set():
            found = application()
            if found != expected:
                wrong.append(found)
        return True

    with ThreadPoolExecutor(3) as pool:
        running = pool.submit(theirs)
        try:
            made = list(pool.map(lambda _: council(["provider=scripted"]), range(6)))
        finally:
            over.set()
        assert running.result(30)
    assert len(made) == 6 and not wrong


def test_the_users_own_options_are_found_from_python(here):
    """In a process where no command has made `./conf` known to Hydra."""
    folder = here / "conf/expert"
    folder.mkdir(parents=True)
    shipped = (conf_folder() / "expert/asm.yaml").read_text()
    (folder / "mine.yaml").write_text(shipped.replace("experts.asm", "experts.mine").replace("name: asm", "name: mine"))
    code = "from hafs import council\nprint(*council(['expert=mine,asm', 'provider=scripted']).panel.experts)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.split() == ["mine", "asm"], done.stderr


def test_a_failed_override_leaves_the_applications_hydra_unchanged(application):
    with pytest.raises(Exception, match="no option 'nobody'"):
        council(["expert=nobody"])
    assert str(getbase()) == "1.2"
    assert application().name == "theirs"


def test_the_config_of_their_running_job_stays(application):
    HydraConfig.instance().cfg = OmegaConf.create({"hydra": {"job": {"name": "theirs"}}})
    try:
        council(["provider=scripted"])
        assert HydraConfig.get().job.name == "theirs"
    finally:
        HydraConfig.instance().cfg = None
