"""Lets `python -m noah_cli` stand for `noah`."""

import sys

from noah_cli.app import main

sys.exit(main())
