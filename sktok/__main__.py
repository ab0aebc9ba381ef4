"""``python -m sktok``."""

import sys

from sktok._command_line import main

if __name__ == "__main__":
    sys.exit(main())
