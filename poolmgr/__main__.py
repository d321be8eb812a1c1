"""``python -m poolmgr``."""

import sys

from poolmgr.cli.app import main

sys.exit(main())
