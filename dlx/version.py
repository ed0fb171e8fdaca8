"""The version of dlx: read by the build, by `dlx --version`, and by every run that is stored."""

__version__ = "0.1.0"
