from __future__ import annotations

import subprocess
import sys


def test_the_package_imports_no_torch() -> None:
    program = (
        "import sys, noah.data.registry, noah.data.pixels, noah.data.preprocessing, noah.data.images\n"
        "heavy = {'torch', 'torchvision', 'timm', 'sklearn'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
