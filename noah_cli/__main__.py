"""Makes `python -m noah_cli` run `noah`."""

import sys

from noah_cli.app import main

sys.exit(main())
