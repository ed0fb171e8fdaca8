"""The experiment as plain data: no JAX, no clock, no files but the config itself."""

from dlx.config.duration import Duration as Duration
from dlx.config.experiment import Experiment as Experiment
from dlx.config.experiment import kinds as kinds
from dlx.config.load import load_experiment as load_experiment
from dlx.config.overrides import Override as Override
from dlx.config.overrides import parse_override as parse_override
