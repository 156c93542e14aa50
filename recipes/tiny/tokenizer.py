"""The tokenizer of tiny-sd and tiny-clip: CLIP's byte-level BPE, its merges learned from the world's captions.

Every word of the world is one token; other words are split into several tokens, so real prompts can be read too.
"""

from __future__ import annotations

import json

from common import WORK
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import CLIPTokenizer

from palate.world.corpus import Corpus

LENGTH = 32
# Everyday words of prompts, so that real prompts fit in LENGTH tokens better.
EXTRA = """
a an the of in on at with and or to from by for under over near behind beside between is are its his her their this
person people man woman boy girl child baby face portrait photo picture painting drawing illustration render scene
dog cat bird horse cow bear fish house tree forest city street car bus train boat bicycle table chair room kitchen
sky sea water mountain snow river beach garden flower light dark night day sun moon cloud rain fire old young small
large big little black grey gray brown orange pink gold silver wooden standing sitting holding wearing looking riding
walking playing eating style art detailed realistic beautiful cinematic fantasy digital anime character
"""


def build_tokenizer() -> CLIPTokenizer:
    folder = WORK / "tokenizer"
    if not (folder / "vocab.json").exists():
        entries = [Corpus(0, faulty=False).entry(i).caption for i in range(4000)]
        text = [*entries, *(EXTRA.split() * 50)]
        bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
        bpe.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Split(" ", "removed"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
        )
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        trainer = trainers.BpeTrainer(
            vocab_size=1600, end_of_word_suffix="</w>", initial_alphabet=alphabet, show_progress=False
        )
        bpe.train_from_iterator(text, trainer)
        merges = [m if isinstance(m, list) else m.split(" ") for m in json.loads(bpe.to_str())["model"]["merges"]]
        pieces = [*alphabet, *(f"{letter}</w>" for letter in alphabet)]
        pieces += [p for p in dict.fromkeys("".join(m) for m in merges) if p not in pieces]
        vocabulary = {piece: i for i, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
        (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *(" ".join(m) for m in merges)]) + "\n")
    return CLIPTokenizer(
        str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=LENGTH, pad_token="<|endoftext|>"
    )


if __name__ == "__main__":
    tokenizer = build_tokenizer()
    for text in ("three red stars on a blue background", "a toy on a white background", "A cat, 4k; née Müller"):
        print(tokenizer.tokenize(text), tokenizer(text).input_ids)
    print(len(tokenizer), tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id)
