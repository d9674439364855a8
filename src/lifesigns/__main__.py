"""`python -m lifesigns` is `lifesigns`."""

from __future__ import annotations

import sys

from lifesigns.cli.main import main

sys.exit(main())
