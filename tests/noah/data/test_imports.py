from __future__ import annotations

import subprocess
import sys


def test_the_package_imports_no_torch() -> None:
    program = (
        "import sys, noah.data.sources.registry, noah.data.pixels.pixels, noah.data.pixels.preprocessing\n"
        "import noah.data.decode\n"
        "heavy = {'torch', 'torchvision', 'timm', 'sklearn'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
