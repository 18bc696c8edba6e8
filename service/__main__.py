"""``python -m onlinesvm.service`` is the command line."""

import sys

from onlinesvm.service.cli.main import main

sys.exit(main())
