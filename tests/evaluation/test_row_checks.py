"""The verdicts beside answers that are shown side by side."""

from hafs.chat import Message
from hafs.evaluation.metrics import Metric, Parts, Said
from hafs.evaluation.row_checks import RowCheck, examples, row_checks

PROMPT = (Message(role="user", content="q"),)


class Runs(Metric):
    """Right if the answer says so; rows that ask for words do not apply."""

    def parts(self, said):
        return None if said.reference == "words" else Parts(float(said.answer == "works"))


def said(answer, reference="code"):
    return Said(prompt=PROMPT, reference=reference, answer=answer)


def test_each_side_is_judged_by_the_first_check_that_applies():
    left, right = [said("no"), said("x", "words")], [said("works"), said("works", "words")]
    found = row_checks({"executes": Runs(), "chrf": Runs()}, left, right)
    assert found == [RowCheck("executes", (False, True)), None]
    assert row_checks({"chrf": Runs()}, left, right) == [None, None]


def test_the_rows_shown_are_a_right_and_a_wrong_one():
    checks = [RowCheck("executes", (False, flag)) for flag in (False, False, True)]
    assert examples([None, *checks], [0, 1, 2, 3], 2) == [3, 1]
    assert examples([None, None], [0, 1], 2) == [0, 1]
