"""Why a sample ended, by the names that servers and tools have for it."""

from tersely.core.types import Finish

# The server did not get to the end, and may the next time.
BROKEN_OFF = (
    *("error", "abort", "aborted", "cancelled", "timeout"),
    "insufficient_system_resource",  # DeepSeek's
)
# A call of a tool, which none was given, is an answer. What vLLM stops for its repetition is cut.
FINISHES = {
    **dict.fromkeys(
        (
            *("stop", "eos", "eos_token", "end_turn", "stop_sequence", "complete", "completed"),
            *("finished", "tool_call", "tool_calls", "tool_use", "function_call"),
        ),
        Finish.STOP,
    ),
    **dict.fromkeys(
        (
            *("length", "max_tokens", "max_output_tokens", "model_length", "incomplete"),
            *("model_context_window_exceeded", "truncated", "repetition"),
        ),
        Finish.LENGTH,
    ),
    **dict.fromkeys(
        (
            *BROKEN_OFF,
            *("failed", "pending", "content_filter", "refusal", "safety", "recitation"),
            *("blocklist", "prohibited_content", "spii"),
        ),
        Finish.ERROR,
    ),
}


def find_finish(reason: object) -> Finish | None:
    """The finish that the reason is a name of, written in any way (``FinishReason.MAX_TOKENS``, or
    SGLang's ``{"type": "length"}``); None if it is not known."""
    return FINISHES.get(_plain(reason))


def is_broken_off(reason: object) -> bool:
    """Whether the server did not get to the end."""
    return _plain(reason) in BROKEN_OFF


def _plain(reason: object) -> str:
    name = reason.get("type") if isinstance(reason, dict) else reason
    return name.rpartition(".")[2].lower() if isinstance(name, str) else ""
