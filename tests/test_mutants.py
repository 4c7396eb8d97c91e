"""`make mutants` takes an hour; that its list is up to date shows in a moment."""

from pathlib import Path

import pytest
from mutants import MUTANTS, ROOT, table


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_changes_text_that_is_there_and_names_tests_that_are_there(mutant):
    assert mutant.old in (ROOT / mutant.file).read_text()
    paths = [word.split("::")[0] for word in mutant.tests.split() if word.startswith("tests/")]
    assert paths
    assert all(Path(ROOT / path).exists() for path in paths)


def test_the_manual_lists_the_mutants_as_they_are():
    """`python -c 'import mutants; print(mutants.table())'`, in `tests/`, prints what the page must contain."""
    assert table() in (ROOT / "docs/explanation/reliability.md").read_text()
