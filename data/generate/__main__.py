"""Write the sample datasets, or check that the files are what the generator writes.

python data/generate --seed 7            # writes the files in data/
python data/generate --seed 7 --check    # exit status 1 when a file differs
"""

import argparse
import sys
from pathlib import Path

sys.path[:0] = [str(folder) for folder in Path(__file__).resolve().parents[1:3]]

from generate.files import contents  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(prog="python data/generate", description="Write the sample datasets.")
    parser.add_argument("--seed", type=int, default=7, help="names the stream of choices (default: 7)")
    parser.add_argument("--check", action="store_true", help="compare with the files instead of writing them")
    options = parser.parse_args()
    folder = Path(__file__).resolve().parents[1]
    different = 0
    for name, data in contents(options.seed).items():
        path = folder / name
        if not options.check:
            path.write_bytes(data)
            print(f"{name}: {len(data.splitlines())} lines, {len(data)} bytes")
        elif not path.exists() or path.read_bytes() != data:
            different += 1
            print(f"{name} differs from what seed {options.seed} gives", file=sys.stderr)
    return min(different, 1)


if __name__ == "__main__":
    sys.exit(main())
