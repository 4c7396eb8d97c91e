import pytest

from hafs.providers.stream_continuation import ANEW, Seam

GIVEN = "The routine loads A from $7E0010 and "


def joined(given, how, pieces):
    seam = Seam(given, how)
    text = "".join(map(seam.feed, pieces)) + seam.end()
    return text, seam.ended


@pytest.mark.parametrize(
    ("told", "given_on"),
    [
        ("stores it.", "stores it."),
        (GIVEN + "stores it.", "stores it."),
        ("from $7E0010 and stores it.", "stores it."),
        ("The end.", "The end."),
        ("and then", "and then"),
    ],
)
@pytest.mark.parametrize("size", [1, 4, 100])
def test_a_continuation_says_nothing_twice(told, given_on, size):
    pieces = [told[i : i + size] for i in range(0, len(told), size)]
    assert joined(GIVEN, "continue", pieces) == (given_on, "continued")


@pytest.mark.parametrize("size", [1, 4, 100])
def test_a_restart_is_seamless_where_it_says_the_same_and_announced_where_not(size):
    for told, expected in (
        (GIVEN + "stores it.", ("stores it.", "continued")),
        ("The code is wrong.", (ANEW + "The code is wrong.", "restarted")),
    ):
        assert joined(GIVEN, "restart", [told[i : i + size] for i in range(0, len(told), size)]) == expected


def test_a_first_stream_passes_as_it_is():
    assert joined("", "continue", ["a", "b"]) == ("ab", "complete")
