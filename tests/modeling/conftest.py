import pytest
from generation_nets import loaded


@pytest.fixture(scope="session")
def tiny():
    return loaded("tiny", spread=1.0)
