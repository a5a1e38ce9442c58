"""Asks the package index for known vulnerabilities of what requirements.lock pins.

Not every index knows of them: what it knows nothing of is counted, and no failure.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOOL = "pip-audit==2.10.1"


def main() -> int:
  """Says what is known; 1 if there is a vulnerability."""
  with tempfile.TemporaryDirectory() as tool:
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--target", tool, TOOL]
    if subprocess.run(words, capture_output=True).returncode:
      print(f"note: {TOOL} cannot be installed here: nothing is audited")
      return 0
    lock = f"--requirement={ROOT / 'requirements.lock'}"
    words = [sys.executable, "-m", "pip_audit", "--format=json", "--disable-pip"]
    words += ["--require-hashes", lock]
    environment = {**os.environ, "PYTHONPATH": tool}
    ran = subprocess.run(words, capture_output=True, text=True, env=environment)
  try:
    packages = json.loads(ran.stdout)["dependencies"]
  except (ValueError, KeyError):
    reason = ran.stderr.strip().splitlines()[-1:]
    print(f"note: nothing is audited: {' '.join(reason)}")
    return 0
  known = [package for package in packages if "vulns" in package]
  found = [(package, v) for package in known for v in package["vulns"]]
  print(f"{len(known)} of {len(packages)} pinned packages are known to this index")
  for package, vulnerability in found:
    mended = ", ".join(vulnerability["fix_versions"]) or "no version yet"
    name = f"{package['name']} {package['version']}"
    print(f"{name}: {vulnerability['id']}, mended in {mended}")
  return int(bool(found))


if __name__ == "__main__":
  sys.exit(main())
