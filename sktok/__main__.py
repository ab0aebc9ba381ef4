"""``python -m sktok``."""

import sys

if __name__ == "__main__":
    try:
        from sktok._command_line import main  # takes a second

        sys.exit(main())
    except KeyboardInterrupt:
        print("sktok: interrupted", file=sys.stderr)
        sys.exit(130)
