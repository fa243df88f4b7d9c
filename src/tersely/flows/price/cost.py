"""What a recipe will cost at most, before anything is sampled."""

from tersely.flows.recipe.recipe import Recipe


def describe_cost(recipe: Recipe, *, evaluations: int) -> str:
    """Upper bounds in tokens; rollouts end on their own, so real runs stay below."""
    sampling, learner, evaluation = recipe.sampling, recipe.learner, recipe.evaluation
    rollouts = sampling.prompts_per_step * sampling.samples_per_prompt
    samples = recipe.test_samples
    cap, top = sampling.cap_tokens, max(evaluation.budgets)
    most = learner.rollout_tokens
    early = f"\nthe step that brings the sampled tokens to {most:,} is the last" if most else ""
    judged = (
        f"\nevaluation: {evaluations} times x at most {samples:,} samples x at most {top:,} "
        f"tokens = at most {evaluations * samples * top:,} sampled tokens"
    )
    return (
        f"training: {learner.steps:,} steps x {rollouts:,} rollouts x at most {cap:,} tokens = "
        f"at most {learner.steps * rollouts * cap:,} sampled tokens, "
        f"{learner.steps * learner.staleness:,} optimizer updates{early}"
        f"{judged if evaluations else ''}"
    )


def count_evaluations(recipe: Recipe) -> int:
    """How often the run is evaluated: before, every k steps, and at the end."""
    return 1 + -(-recipe.learner.steps // recipe.evaluation.every_steps)
