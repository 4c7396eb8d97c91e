import pytest
from harness import kill_the_rest, outcome, said, train, write_rows


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """The outcome of the run that nothing happened to."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_rows(folder)
    assert train(folder) == 0, said(folder)
    return outcome(folder / "outputs/run")


@pytest.fixture
def rows(here):
    """A working folder with the rows to train on."""
    write_rows(here)
    return here


@pytest.fixture(autouse=True)
def nothing_is_left_at_work():
    yield
    kill_the_rest()
