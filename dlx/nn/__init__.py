"""Layers that are fast inside a compiled loop, on a CPU and in many lanes at once. Public: user models import them too."""

from dlx.nn.conv import Conv as Conv
from dlx.nn.conv import conv as conv
from dlx.nn.dropout import Dropout as Dropout
from dlx.nn.dropout import Rate as Rate
from dlx.nn.estimator import straight_through as straight_through
from dlx.nn.norm import BatchNorm as BatchNorm
from dlx.nn.pool import avg_pool as avg_pool
from dlx.nn.pool import max_pool as max_pool
