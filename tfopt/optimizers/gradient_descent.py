"""Gradient descent under its classic names, all of them Keras's `SGD`.

With weights `w`, the gradient `g` of the mean loss of a batch, a learning rate `a` and a momentum `b`:

    gradient_descent                w = w - a g              the batch is the whole training split
    stochastic_gradient_descent     w = w - a g              the batch is one sample
    mini_batch_gradient_descent     w = w - a g              the batch is some samples, 32 if not given
    momentum                        v = b v - a g            w = w + v
    nesterov                        v = b v - a g            w = w + b v - a g

References:
    Cauchy, Méthode générale pour la résolution des systèmes d'équations simultanées, C. R. Acad. Sci. 25 (1847).
    Robbins and Monro, A stochastic approximation method, Ann. Math. Stat. 22 (1951).
    Polyak, Some methods of speeding up the convergence of iteration methods, USSR Comput. Math. Math. Phys. 4 (1964).
    Nesterov, A method for solving a convex programming problem with convergence rate O(1/k^2), Dokl. 27 (1983), in the
    form of Sutskever et al., On the importance of initialization and momentum in deep learning, ICML 2013.
"""

from __future__ import annotations

from keras.optimizers import SGD

from tfopt.optimizers.registry import OptimizerEntry

GRADIENT_DESCENT = OptimizerEntry(
    "gradient_descent", SGD, batch_size="full", about="Keras's `SGD` on the whole training split at a time."
)
STOCHASTIC_GRADIENT_DESCENT = OptimizerEntry(
    "stochastic_gradient_descent", SGD, batch_size=1, about="Keras's `SGD` on one sample at a time."
)
MINI_BATCH_GRADIENT_DESCENT = OptimizerEntry(
    "mini_batch_gradient_descent", SGD, about="Keras's `SGD` on some samples at a time, 32 if not given."
)
MOMENTUM = OptimizerEntry("momentum", SGD, {"momentum": 0.9}, about="Keras's `SGD` with a momentum of 0.9.")
NESTEROV = OptimizerEntry(
    "nesterov", SGD, {"momentum": 0.9, "nesterov": True}, about="Keras's `SGD` with Nesterov's momentum of 0.9."
)
