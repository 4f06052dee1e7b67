"""Writes the test images of the digits dataset as PNG files, with one folder per class, to try predictions on.

Usage: python examples/write_digits.py FOLDER
"""

import sys
from pathlib import Path

from noah.data.sources.digits import load_digits


def main(folder: Path) -> None:
    """Write FOLDER/<class>/<number>.png for each of the 797 test images."""
    dataset = load_digits(seed=0, validation_fraction=0.2)
    test = dataset.load_test()
    for index, label in enumerate(test.labels):
        path = folder / dataset.classes[label] / f"{index:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        test.open(index).save(path)
    print(f"written   {len(test)} images under {folder}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
