"""The lab's tokenizer: one token a symbol, a chat template, thinking marks."""

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tersely.lab.rows import MOVES
from tersely.lab.traces import ASKED, BRIEF, END_THINK, EQUALS, JOINS, NO, RECHECKS, THINK

PAD, END, USER, ASSISTANT, UNKNOWN = "<pad>", "<end>", "<user>", "<assistant>", "<unknown>"
SPECIAL = (PAD, END, USER, ASSISTANT, UNKNOWN, THINK, END_THINK)
WORDS = (*RECHECKS, NO, *EQUALS, *JOINS, *ASKED)
SYMBOLS = (*WORDS, BRIEF, *"0123456789", *"+-*", ">", "?", *"abcd", *MOVES)
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}<user>{{ message['content'] }}"
    "{% elif message['role'] == 'assistant' %}<assistant>{{ message['content'] }}<end>"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def make_tokenizer() -> PreTrainedTokenizerFast:
    """The tokenizer as Hugging Face knows it; decoding joins tokens without spaces."""
    vocabulary = {token: number for number, token in enumerate((*SPECIAL, *SYMBOLS))}
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    inner.pre_tokenizer = pre_tokenizers.Split(Regex(f"{'|'.join(WORDS)}|."), behavior="isolated")
    inner.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        pad_token=PAD,
        eos_token=END,
        unk_token=UNKNOWN,
        additional_special_tokens=[USER, ASSISTANT, THINK, END_THINK],
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )
