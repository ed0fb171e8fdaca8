"""Layers that are fast inside a compiled loop, on a CPU and in many lanes at once. Public: user models import them too."""

from dlx.nn.conv import Conv as Conv
from dlx.nn.conv import conv as conv
from dlx.nn.conv_transpose import ConvTranspose as ConvTranspose
from dlx.nn.conv_transpose import conv_transpose as conv_transpose
from dlx.nn.dropout import Dropout as Dropout
from dlx.nn.dropout import Rate as Rate
from dlx.nn.embedding import Embed as Embed
from dlx.nn.estimator import straight_through as straight_through
from dlx.nn.norm import BatchNorm as BatchNorm
from dlx.nn.pool import avg_pool as avg_pool
from dlx.nn.pool import max_pool as max_pool
from dlx.nn.recurrent import Carry as Carry
from dlx.nn.recurrent import CellKind as CellKind
from dlx.nn.recurrent import Recurrent as Recurrent
