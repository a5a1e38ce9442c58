"""A real browser, as wide as a telephone or a desk."""

import pathlib

import pytest

CHROMIUM, DRIVER = (pathlib.Path(f"/usr/bin/{n}") for n in ("chromium", "chromedriver"))
SIZES = {"telephone": (360, 740), "desk": (1280, 900)}
# Started by root it needs --no-sandbox; the others keep it from calling home.
FLAGS = (
  "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser():
  webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
  if not (CHROMIUM.exists() and DRIVER.exists()):
    pytest.skip(f"needs {CHROMIUM} and {DRIVER}")
  options = webdriver.ChromeOptions()
  options.binary_location = str(CHROMIUM)
  options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
  for flag in FLAGS:
    options.add_argument(flag)
  driver = webdriver.Chrome(options, webdriver.ChromeService(str(DRIVER)))
  yield driver
  driver.quit()


def resize(browser, size):
  width, height = SIZES[size]
  metrics = {"width": width, "height": height, "deviceScaleFactor": 1}
  browser.execute_cdp_cmd(
    "Emulation.setDeviceMetricsOverride", {**metrics, "mobile": size == "telephone"}
  )


def complaints(browser):
  """What the browser has to say since it was last asked, such as of a missing file."""
  return [said for said in browser.get_log("browser") if said["level"] != "INFO"]
