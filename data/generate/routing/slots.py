"""What the slots of a question can hold, and how people decorate and mistype it."""

from ..dice import Dice

SLOTS: dict[str, tuple[str, ...]] = {
    "op": (
        "xba",
        "tsb $10",
        "ror a",
        "pea $7E7E",
        "bit $4212",
        "adc $0600,x",
        "mvn",
        "lda [$00],y",
        "sbc #$05",
        "trb $0400",
        "stz $2102",
    ),
    "button": ("Start", "Select", "L", "R", "B", "Y", "X", "A", "up", "down"),
    "thing": (
        "boss",
        "hookshot",
        "chicken",
        "boat",
        "mirror",
        "lantern",
        "ghost",
        "dragon",
        "hammer",
        "thief",
        "shopkeeper",
    ),
    "sprite": (
        "gibdo",
        "stalfos",
        "moblin",
        "octorok",
        "fairy",
        "blue guard",
        "antifairy",
        "bari",
        "zora",
        "keese",
        "wizzrobe",
    ),
    "group": ("armor", "sword", "shield", "hud", "dungeon", "overworld", "enemy"),
    "file": ("swamp", "tower", "night_edit", "release", "trees", "hud_v2", "beta", "hard_mode"),
    "place": (
        "witch's hut",
        "library",
        "graveyard",
        "lake",
        "desert gate",
        "smithy",
        "village",
        "ice cave",
        "castle",
        "windmill",
    ),
    "item": (
        "heart",
        "bomb",
        "small key",
        "lamp",
        "bow",
        "fairy",
        "flute",
        "mushroom",
        "map",
        "compass",
        "cape",
        "boomerang",
    ),
}
OPENERS = (
    "",
    "",
    "",
    "",
    "",
    "",
    "Hi! ",
    "Quick question: ",
    "ok so ",
    "Hello, ",
    "Next one: ",
    "Hmm. ",
    "Sorry if this is basic. ",
    "One more thing: ",
)
CLOSERS = ("", "", "", "", "", "", "", " Thanks!", " thx", " Please keep it short.", " I'm a beginner.", " No rush.")


def _number(d: Dice, name: str) -> str:
    if name == "n":
        return str(d.between(12, 250))
    if name == "small":
        return str(d.between(2, 9))
    if name == "room":
        return d.pick(str(d.between(3, 290)), f"0x{d.between(16, 290):X}")
    if name == "hex":
        return f"{d.between(16, 255):02X}"
    if name == "ram":
        return d.pick(f"$7E{d.between(0x2000, 0xF000):04X}", f"${d.between(0x0600, 0x1EFF):04X}")
    return f"${d.between(0, 0x1F):02X}{d.between(0x8000, 0xFFFF):04X}"


def fill(d: Dice, question: str) -> str:
    """The question with every slot filled on its own."""
    parts = question.split("{")
    text = parts[0]
    for part in parts[1:]:
        name, rest = part.split("}", 1)
        text += (d.of(SLOTS[name]) if name in SLOTS else _number(d, name)) + rest
    return text


def mistype(d: Dice, text: str) -> str:
    """Swap or drop one letter inside a longer lower-case word."""
    words = text.split(" ")
    longer = [k for k, word in enumerate(words) if len(word) > 4 and word.isalpha() and word.islower()]
    if not longer:
        return text
    k = d.of(longer)
    word, at = words[k], d.between(1, len(words[k]) - 3)
    words[k] = word[:at] + (word[at + 1] + word[at] + word[at + 2 :] if d.chance(0.6) else word[at + 1 :])
    return " ".join(words)


def decorate(d: Dice, text: str) -> str:
    """Openers, closers, lower case and a typing error, each in some of the questions."""
    opener = d.of(OPENERS)
    if (
        opener
        and opener[-2] not in "!."
        and text[:2].istitle()
        and text.split(maxsplit=1)[0] not in ("I", "I'd", "ROM", "Link's")
    ):
        text = text[0].lower() + text[1:]
    text = opener + text + d.of(CLOSERS)
    if d.chance(0.1):
        text = text.rstrip("?.") if "$" in text else text.lower().rstrip("?.")
    return mistype(d, text) if d.chance(0.08) else text
