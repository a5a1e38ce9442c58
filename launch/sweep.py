"""Many settings, one after another: `python -m robustjax.sweep`, by its older name."""

import sys

from robustjax.sweep.__main__ import main

if __name__ == "__main__":
  sys.exit(main())
