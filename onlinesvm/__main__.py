"""``python -m onlinesvm`` is the command line, which the service has."""

import sys

from onlinesvm.service.cli.main import main

sys.exit(main())
