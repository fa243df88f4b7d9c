"""What a recipe will cost at most, before anything is sampled."""

from tersely.flows.recipe.recipe import Recipe


def describe_cost(recipe: Recipe, *, evaluations: int) -> str:
    """Upper bounds in tokens; rollouts end on their own, so real runs stay below."""
    sampling, learner, evaluation = recipe.sampling, recipe.learner, recipe.evaluation
    rollouts = sampling.prompts_per_step * sampling.samples_per_prompt
    samples = recipe.problems.test_limit * evaluation.samples
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


def evaluation_steps(recipe: Recipe) -> list[int]:
    """After how many updates the run is evaluated: before, every k, and at the end."""
    steps, every = recipe.learner.steps, recipe.evaluation.every_steps
    return sorted({*range(0, steps, every), steps})
