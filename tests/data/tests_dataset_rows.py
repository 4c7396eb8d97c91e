WORDS = (  # noqa: SIM905
    "accumulator bank camera collision counter direct door dungeon enemy flag frame index item key loop map memory "
    "object overworld page palette pointer queue register room routine scroll sound sprite stack table tile timer"
).split()


def sentence(dice, count):
    return " ".join(dice.choices(WORDS, k=count))


def varied(dice, number):
    """One good row in one of the five formats; no two are alike."""
    asked, said = f"{number} {sentence(dice, 8)}", sentence(dice, 12)
    return [
        {"instruction": asked, "input": "", "output": said},
        {"messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]},
        {"conversations": [{"from": "human", "value": asked}, {"from": "gpt", "value": said}]},
        {"prompt": asked, "completion": said},
        {"text": f"{asked} {said}"},
    ][number % 5] | {"number": number}
