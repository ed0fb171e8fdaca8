"""How parameters move. Each kind carries the name and the arguments of its Optax function; the numbers are `Lane`s.

`clip_norm`, `clip_value`, `l1` and `l2` belong to every kind. `weight_decay` exists where Optax has it and never touches
biases and normalization parameters. It is decoupled (Loshchilov and Hutter 2019), but for adadelta and lars, whose papers
add it to the gradient.
"""

from typing import Annotated, Literal

from pydantic import Field

from dlx.config.lane import Config, Lane

Positive = Annotated[Lane, Field(gt=0)]
NotNegative = Annotated[Lane, Field(ge=0)]
Beta = Annotated[Lane, Field(ge=0, lt=1)]


class Common(Config):
    """The fields of every optimizer."""

    lr: Positive = 1e-3
    """The peak learning rate; the schedule multiplies it."""
    clip_norm: Positive | None = None
    """Scale the gradient down to this global norm when it is longer (Pascanu et al. 2013)."""
    clip_value: Positive | None = None
    """Cut each gradient entry to [-clip_value, clip_value]; comes before `clip_norm`."""
    l1: NotNegative | None = None
    """Adds l1 * sum |w| to the loss, over weights (not biases, not normalization)."""
    l2: NotNegative | None = None
    """Adds l2 / 2 * sum w**2 to the loss, over weights (not biases, not normalization)."""


class Sgd(Common):
    """Stochastic gradient descent with (Nesterov) momentum."""

    kind: Literal["sgd"] = "sgd"
    lr: Positive = 1e-2
    momentum: Beta = 0.0
    nesterov: bool = False
    weight_decay: NotNegative = 0.0


class SignSgd(Common):
    """Only the sign of the gradient (Bernstein et al. 2018)."""

    kind: Literal["sign_sgd"] = "sign_sgd"


class Signum(Common):
    """The sign of the momentum (Bernstein et al. 2018)."""

    kind: Literal["signum"] = "signum"
    beta: Beta = 0.9


class Adagrad(Common):
    """Duchi, Hazan, Singer 2011."""

    kind: Literal["adagrad"] = "adagrad"
    lr: Positive = 1e-2
    initial_accumulator_value: NotNegative = 0.1
    eps: Positive = 1e-7


class Adadelta(Common):
    """Zeiler 2012. The rate is 1 in the paper."""

    kind: Literal["adadelta"] = "adadelta"
    lr: Positive = 1.0
    rho: Beta = 0.9
    eps: Positive = 1e-6
    weight_decay: NotNegative = 0.0


class Rmsprop(Common):
    """Tieleman and Hinton 2012."""

    kind: Literal["rmsprop"] = "rmsprop"
    decay: Beta = 0.9
    eps: Positive = 1e-8
    momentum: Beta | None = None
    centered: bool = False
    nesterov: bool = False


class Rprop(Common):
    """Riedmiller and Braun 1993: `lr` is the first step size, then every parameter has its own. For full batches."""

    kind: Literal["rprop"] = "rprop"
    eta_minus: Annotated[Lane, Field(gt=0, lt=1)] = 0.5
    eta_plus: Annotated[Lane, Field(gt=1)] = 1.2


class Adam(Common):
    """Adam (Kingma and Ba 2015) and its kin: nadam, amsgrad, radam, adamax."""

    kind: Literal["adam", "nadam", "amsgrad", "radam", "adamax"] = "adam"
    b1: Beta = 0.9
    b2: Beta = 0.999
    eps: Positive = 1e-8


class AdamW(Common):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), and its kin: nadamw, adamaxw."""

    kind: Literal["adamw", "nadamw", "adamaxw"] = "adamw"
    b1: Beta = 0.9
    b2: Beta = 0.999
    eps: Positive = 1e-8
    weight_decay: NotNegative = 1e-4
    """Optax's default. PyTorch's is 1e-2."""


class Adabelief(Common):
    """Zhuang et al. 2020."""

    kind: Literal["adabelief"] = "adabelief"
    b1: Beta = 0.9
    b2: Beta = 0.999
    eps: Positive = 1e-16


class Yogi(Common):
    """Zaheer et al. 2018."""

    kind: Literal["yogi"] = "yogi"
    lr: Positive = 1e-2
    b1: Beta = 0.9
    b2: Beta = 0.999
    eps: Positive = 1e-3


class Adafactor(Common):
    """Shazeer and Stern 2018: second moments of rows and columns only."""

    kind: Literal["adafactor"] = "adafactor"
    min_dim_size_to_factor: Annotated[int, Field(ge=1)] = 128
    decay_rate: Beta = 0.8


class Adan(Common):
    """Xie et al. 2022."""

    kind: Literal["adan"] = "adan"
    b1: Beta = 0.98
    b2: Beta = 0.92
    b3: Beta = 0.99
    eps: Positive = 1e-8
    weight_decay: NotNegative = 0.0


class Lamb(Common):
    """Layer-wise adaptive rates for large batches (You et al. 2020)."""

    kind: Literal["lamb"] = "lamb"
    b1: Beta = 0.9
    b2: Beta = 0.999
    eps: Positive = 1e-6
    weight_decay: NotNegative = 0.0


class Lars(Common):
    """Layer-wise adaptive rates for SGD (You et al. 2017)."""

    kind: Literal["lars"] = "lars"
    lr: Positive = 1.0
    momentum: Beta = 0.9
    nesterov: bool = False
    trust_coefficient: Positive = 1e-3
    weight_decay: NotNegative = 0.0


class Lion(Common):
    """The sign of an interpolated momentum (Chen et al. 2023). Wants a rate 3 to 10 times below Adam's."""

    kind: Literal["lion"] = "lion"
    lr: Positive = 1e-4
    b1: Beta = 0.9
    b2: Beta = 0.99
    weight_decay: NotNegative = 1e-3


class Novograd(Common):
    """Layer-wise second moments (Ginsburg et al. 2019)."""

    kind: Literal["novograd"] = "novograd"
    lr: Positive = 1e-2
    b1: Beta = 0.9
    b2: Beta = 0.25
    eps: Positive = 1e-6


class Sm3(Common):
    """Memory-efficient adaptive rates (Anil et al. 2019)."""

    kind: Literal["sm3"] = "sm3"
    lr: Positive = 1e-1
    momentum: Beta = 0.9


class Fromage(Common):
    """Steps relative to each layer's norm (Bernstein et al. 2020)."""

    kind: Literal["fromage"] = "fromage"
    lr: Positive = 1e-2
    min_norm: Positive = 1e-6


class PolyakSgd(Common):
    """SGD with Polyak's step size (Loizou et al. 2021); `lr` is the largest step."""

    kind: Literal["polyak_sgd"] = "polyak_sgd"
    lr: Positive = 1.0
    f_min: Lane = 0.0


class OptimisticGradientDescent(Common):
    """For games (Mokhtari et al. 2020)."""

    kind: Literal["optimistic_gradient_descent"] = "optimistic_gradient_descent"
    lr: Positive = 1e-2
    alpha: NotNegative = 1.0
    beta: NotNegative = 1.0


class OptimisticAdam(Common):
    """Adam for games (Daskalakis et al. 2018)."""

    kind: Literal["optimistic_adam"] = "optimistic_adam"
    alpha: NotNegative = 1.0
    beta: NotNegative = 1.0
    b1: Beta = 0.9
    b2: Beta = 0.999
    eps: Positive = 1e-8


class Muon(Common):
    """Orthogonalized momentum for matrices (Jordan et al. 2024), AdamW at the same rate for everything else."""

    kind: Literal["muon"] = "muon"
    beta: Beta = 0.95
    nesterov: bool = True
    weight_decay: NotNegative = 0.0


class Lbfgs(Common):
    """Limited-memory BFGS with a zoom line search (Nocedal and Wright 2006): the second-order one, for full batches.

    `lr` multiplies the direction before the line search, which finds the step by itself: leave it at 1.
    """

    kind: Literal["lbfgs"] = "lbfgs"
    lr: Positive = 1.0
    memory_size: Annotated[int, Field(ge=1, le=100)] = 10


OptimizerConfig = Annotated[
    Sgd
    | SignSgd
    | Signum
    | Adagrad
    | Adadelta
    | Rmsprop
    | Rprop
    | Adam
    | AdamW
    | Adabelief
    | Yogi
    | Adafactor
    | Adan
    | Lamb
    | Lars
    | Lion
    | Novograd
    | Sm3
    | Fromage
    | PolyakSgd
    | OptimisticGradientDescent
    | OptimisticAdam
    | Muon
    | Lbfgs,
    Field(discriminator="kind"),
]
