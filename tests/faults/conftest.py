import pytest
from harness import outcome, said, train, write_rows


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
