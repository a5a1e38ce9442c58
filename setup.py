"""What setup.cfg cannot say: experiments/ becomes a folder of the installed package."""

from setuptools import find_packages, setup

setup(
  packages=[*find_packages(include=["robustjax*"]), "robustjax.experiments"],
  package_dir={"robustjax.experiments": "experiments"},
)
