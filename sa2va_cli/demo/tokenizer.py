"""A byte-level BPE tokenizer in Qwen2's layout that knows the demo world's words as single tokens.

A word that it does not know falls apart into letters, as with the published tokenizers.
"""

import json
from pathlib import Path

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    trainers,
)

from sa2va_cli.demo.phrases import REFUSAL, RELATIONS, SUPERLATIVES, VALUES
from sa2va_cli.demo.templates import (
    CAPTION_QUESTIONS,
    DESCRIPTION_QUESTIONS,
    EVALUATION_QUESTION,
    OTHER_SEGMENTATION_QUESTIONS,
    REGION_QUESTIONS,
    SHORT_QUESTION,
)

# https://huggingface.co/Qwen/Qwen2-7B/blob/main/tokenizer.json: how Qwen2 cuts text into words
QWEN2_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# In the order of the published InternVL-based checkpoints; Sa2VA's own five come last.
SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "<tool_call>",
    "</tool_call>",
    "<|fim_prefix|>",
    "<|fim_middle|>",
    "<|fim_suffix|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<img>",
    "</img>",
    "<IMG_CONTEXT>",
    "<quad>",
    "</quad>",
    "<ref>",
    "</ref>",
    "<box>",
    "</box>",
    "[SEG]",
    "<p>",
    "</p>",
    "<vp>",
    "</vp>",
)
NOT_SPECIAL = SPECIAL_TOKENS[14:22]  # added, but ordinary text, in the published files
PAIR_PATTERN = Regex(QWEN2_WORDS)
MOST_TOKENS = 2000  # a limit that the words of this world do not reach


def write_tokenizer(folder: Path) -> None:
    """Write tokenizer.json and the older files beside it, as published checkpoints hold them."""
    tokenizer = train_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    model = json.loads(tokenizer.to_str())["model"]
    merges = ["#version: 0.2", *(" ".join(pair) for pair in model["merges"])]
    (folder / "merges.txt").write_text("\n".join(merges) + "\n", encoding="utf-8")
    _write_json(folder / "vocab.json", model["vocab"])
    ids = {token: tokenizer.token_to_id(token) for token in SPECIAL_TOKENS}
    _write_json(folder / "added_tokens.json", dict(sorted(ids.items())))
    ends = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    _write_json(folder / "special_tokens_map.json", ends)
    _write_json(
        folder / "tokenizer_config.json",
        {
            "added_tokens_decoder": {
                str(number): {
                    "content": token,
                    "lstrip": False,
                    "normalized": False,
                    "rstrip": False,
                    "single_word": False,
                    "special": token not in NOT_SPECIAL,
                }
                for token, number in ids.items()
            },
            "bos_token": None,
            "clean_up_tokenization_spaces": False,
            **ends,
            "errors": "replace",
            "model_max_length": 8192,
            "split_special_tokens": False,
            "tokenizer_class": "Qwen2Tokenizer",
            "unk_token": None,
        },
    )


def train_tokenizer() -> Tokenizer:
    """Merges letters until each word of the world is one token; the same result every time."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(PAIR_PATTERN, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=MOST_TOKENS,
        min_frequency=2,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator(world_words() * 2, trainer)
    tokenizer.add_special_tokens(
        [token for token in SPECIAL_TOKENS if token not in NOT_SPECIAL][:14]
    )
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in NOT_SPECIAL])
    tokenizer.add_special_tokens(list(SPECIAL_TOKENS[22:]))
    return tokenizer


def world_words() -> list[str]:
    """Every word that questions and answers are made of, with its leading space, once."""
    texts = [
        *(template.format(phrase="x", region="region1") for template in ALL_TEMPLATES),
        " ".join(["", *SUPERLATIVES, *RELATIONS, "to the", "all every each an a object shape"]),
        " ".join(["", *(value for values in VALUES for value in values)]),
        " ".join(["", *(shape + ("es" if shape == "cross" else "s") for shape in VALUES[3])]),
        " ".join(value.capitalize() for values in VALUES for value in values),
        "user\nassistant\nThere are 1 part regions in the picture: region1.\n objects shapes",
        "\n".join(
            (
                REFUSAL,
                "Sure,",
                "Yes.",
                "No.",
                "It is a",
                "The image shows",
                "How many are",
            )
        ),
        "\n".join((" Is there", "Is", "What color is", "What shape", "The", "Segment", "Where")),
        "Topmost Leftmost Rightmost Bottommost 0 1 2 3 4 5 6 7 8 9",
    ]
    cutter = pre_tokenizers.Split(PAIR_PATTERN, behavior="isolated")
    words = {word for text in texts for word, _ in cutter.pre_tokenize_str(text)}
    return sorted(words - {"x", " x"})


ALL_TEMPLATES = (
    EVALUATION_QUESTION,
    SHORT_QUESTION,
    *OTHER_SEGMENTATION_QUESTIONS,
    *CAPTION_QUESTIONS,
    *DESCRIPTION_QUESTIONS,
    *REGION_QUESTIONS,
    "How many x are there in this image?",
    "Is there a x in this image?",
    "Is the x red? What color is the x? What shape is the x?",
)


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
