"""verl's own schema of its configuration: which keys it has, and whether it takes ours."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from tersely.core.errors import ConfigError
from tersely.flows.verl.settings import ENGINE

# The variables that Ray gives its processes, of which verl's YAML has none.
ENVIRONMENT = "ray_kwargs.ray_init.runtime_env.env_vars"
SCHEMA, SCHEMA_FOLDER = "ppo_trainer", "verl.trainer.config"


def known_keys(engine: str | None = None) -> frozenset[str]:
    """The dotted keys of verl's own schema, with this ``model_engine``; ``+KEY`` is one that
    its YAML leaves out and verl takes: a field of its dataclasses, or Ray's environment."""
    overrides = ["actor_rollout_ref.rollout.name=vllm"]
    composed = compose_config(overrides + ([f"{ENGINE}={engine}"] if engine else []))
    return frozenset((*_keys(composed), *_left_out(composed), f"+{ENVIRONMENT}"))


def _keys(node: Any, prefix: str = "") -> list[str]:
    """Of leaves; a part without any is a key that takes others."""
    from omegaconf import DictConfig

    found: list[str] = []
    for key in node:
        inner = node._get_node(key)
        is_part = isinstance(inner, DictConfig) and not inner._is_none() and len(inner)
        found += _keys(inner, f"{prefix}{key}.") if is_part else [f"{prefix}{key}"]
    return found


def _left_out(node: Any, prefix: str = "") -> list[str]:
    """``+KEY`` of every field that the dataclasses named in it have and it does not."""
    from hydra.utils import get_class
    from omegaconf import DictConfig

    found: list[str] = []
    if named := node.get("_target_"):
        own = [each.name for each in fields(get_class(named)) if each.init]
        found += [f"+{prefix}{name}" for name in own if name not in node and name[0] != "_"]
    for key in node:
        inner = node._get_node(key)
        if isinstance(inner, DictConfig) and not inner._is_none():
            found += _left_out(inner, f"{prefix}{key}.")
    return found


def compose_config(overrides: Sequence[str]) -> Any:
    """verl's configuration with these overrides.

    Raises:
        ConfigError: one is of no key of verl's.
    """
    from hydra import compose, initialize_config_module
    from hydra.errors import HydraException

    try:
        with initialize_config_module(SCHEMA_FOLDER, version_base=None):
            return compose(SCHEMA, overrides=list(overrides))
    except HydraException as error:
        first = str(error).splitlines()[0]
        raise ConfigError(f"verl cannot compose its configuration: {first}; see [verl]") from error


def check_composed(overrides: Sequence[str]) -> None:
    """Has verl compose and validate its configuration, as its trainer will.

    Raises:
        ConfigError: verl refuses it, in verl's words.
    """
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config

    config = compose_config(overrides)
    try:
        OmegaConf.resolve(config)
        validate_config(
            config,
            use_reference_policy=need_reference_policy(config),
            use_critic=need_critic(config),
        )
    except (AssertionError, ValueError, TypeError, HydraException, OmegaConfBaseException) as error:
        said = " ".join(str(error).split())
        raise ConfigError(f"verl refuses its configuration: {said}; see [verl]") from error
