"""``python -m onlinesvm.service`` is the command line."""

import sys

from onlinesvm.service.cli import main

sys.exit(main())
