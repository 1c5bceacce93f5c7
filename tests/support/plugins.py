"""Losses and rewards of tests, told what their flags would say."""

from dataclasses import replace


def weighed(module, weight, **settings):
    """``module`` with this weight and these ``settings``; an ``optimizer`` among them is its own."""
    optimizer = settings.pop("optimizer", None)
    if optimizer is not None:
        module.optimizer = lambda parameters: optimizer
    module.config = replace(module.config, weight=weight, **settings)
    return module
