#!/usr/bin/env python3
"""Token ids of the package `tokenizers` (and of `sentencepiece`) beside ours, for each family's components.

Every family is a tokenizer.json with the components that its models ship: vocabulary and merges are trained here, normalizer,
pre-tokenizer, added tokens, post-processor and decoder are the family's. Two vocabularies are also written as GGUF.

    tests/oracle/tokenizer_families.py compare TOKENIZE_LINES DATA_ROOT CODE_FOLDER    all strings, ours beside theirs
    tests/oracle/tokenizer_families.py golden REPOSITORY OUT.json                      tests/goldens/tokenizer_families.json

Made with tokenizers 0.23.3, sentencepiece 0.2.3, gguf 0.19.0. The golden's vocabularies are trained on this
repository's own docs/ as they were then: made again it has other vocabularies, and the test reads them from it.
"""
import copy
import hashlib
import io
import json
import pathlib
import random
import struct
import subprocess
import sys
import tempfile

import gguf
import sentencepiece
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

from splitmix64 import splitmix64

HERE = pathlib.Path(__file__).resolve().parent
CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
BLANK = "\u2581"


def byte_level(use_regex):
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": use_regex}


def split_then_bytes(numbers):
    return {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": CONTRACTIONS + numbers + REST}, "behavior": "Isolated", "invert": False}, byte_level(False)]}


def replace(old, new):
    return {"type": "Replace", "pattern": {"String": old}, "content": new}


def sequence(name, *steps):
    return {"type": "Sequence", name: list(steps)}


def text_decoder(strip):
    steps = [replace(BLANK, " "), {"type": "ByteFallback"}, {"type": "Fuse"}]
    return sequence("decoders", *steps, *([{"type": "Strip", "content": " ", "start": 1, "stop": 0}] if strip else []))


def template(bos):
    return lambda ids: {"type": "TemplateProcessing",
                        "single": [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                        "special_tokens": {bos: {"id": bos, "ids": [ids[bos]], "tokens": [bos]}}}


def added(content, special=True, **flags):
    return {"content": content, "special": special, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, **flags}


BYTE_DECODER = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
LLAMA = {"normalizer": sequence("normalizers", {"type": "Prepend", "prepend": BLANK}, replace(" ", BLANK)), "pre_tokenizer": None,
         "decoder": text_decoder(True), "post_processor": template("<s>")}
FAMILIES = {
    "gpt2": {"pre_tokenizer": byte_level(True), "added": [added("<|endoftext|>", normalized=True)]},
    "smollm": {"pre_tokenizer": sequence("pretokenizers", {"type": "Digits", "individual_digits": True}, byte_level(True)),
               "added": [added(t) for t in ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<repo_name>")]},
    "llama-3": {"pre_tokenizer": split_then_bytes(r"\p{N}{1,3}"), "ignore_merges": True,
                "added": [added(t) for t in ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")],
                "post_processor": lambda ids: sequence("processors", byte_level(True), template("<|begin_of_text|>")(ids))},
    "qwen2": {"normalizer": {"type": "NFC"}, "pre_tokenizer": split_then_bytes(r"\p{N}"), "post_processor": lambda ids: byte_level(False),
              "added": [added(t) for t in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")] + [added(t, False) for t in ("<think>", "</think>", "<tool_call>")]},
    # No added token here has letters of GPT-2's byte alphabet beyond ASCII: the library decodes those as bytes, we as they are written.
    "odd-added": {"normalizer": {"type": "NFC"}, "pre_tokenizer": split_then_bytes(r"\p{N}"),
                  "added": [added("<mask>", lstrip=True), added("<pad>", rstrip=True, lstrip=True), added("word", False, single_word=True),
                            added("\u304c", False, normalized=True), added("<|", False), added("<|x|>")]},
    "llama-2": LLAMA, "llama-2-normalized": {**LLAMA, "added": [added("<note>", False, normalized=True), added("x y", False, normalized=True)]},
    "mistral-3": {"pre_tokenizer": {"type": "Metaspace", "replacement": BLANK, "prepend_scheme": "first", "split": False},
                  "decoder": text_decoder(True), "post_processor": template("<s>"), "added": [added("[INST]"), added("[/INST]")]},
    "metaspace-split": {"pre_tokenizer": {"type": "Metaspace", "replacement": BLANK, "prepend_scheme": "always", "split": True},
                        "decoder": text_decoder(True)},
    "gemma": {"normalizer": replace(" ", BLANK), "pre_tokenizer": {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False},
              "decoder": text_decoder(False), "post_processor": template("<s>"),
              "added": [added("<start_of_turn>"), added("<end_of_turn>")] + [added("\n" * n, False) for n in range(1, 5)] + [added("<table>", False)]},
    "phi-3": {**LLAMA, "added": [added(t, rstrip=True) for t in ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")]},
}
CHARACTERS = {"llama-2", "llama-2-normalized", "mistral-3", "metaspace-split", "gemma", "phi-3"}


def train_bytes(texts, size):
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(
        CONTRACTIONS + r"\p{N}{1,3}" + REST), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return {"vocab": model["vocab"], "merges": [list(m) if not isinstance(m, str) else m.split(" ") for m in model["merges"]]}


def train_characters(texts, size):
    """A SentencePiece BPE model, and its vocabulary with the merges that converters derive from it."""
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts), model_writer=out, model_type="bpe", vocab_size=size, byte_fallback=True, character_coverage=0.9995,
        normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True, allow_whitespace_only_pieces=True,
        max_sentence_length=100000, num_threads=2, minloglevel=2, hard_vocab_limit=False)
    processor = sentencepiece.SentencePieceProcessor(model_proto=out.getvalue())
    vocab = {processor.id_to_piece(i): i for i in range(processor.vocab_size())}
    merges = []
    for piece, i in vocab.items():
        cuts = [(piece[:k], piece[k:]) for k in range(1, len(piece)) if piece[:k] in vocab and piece[k:] in vocab]
        merges += [(processor.get_score(i), left, right) for left, right in sorted(cuts, key=lambda cut: (vocab[cut[0]], vocab[cut[1]]))]
    merges.sort(key=lambda m: (m[0], len(m[1]), len(m[2])), reverse=True)
    return {"vocab": vocab, "merges": [[left, right] for _, left, right in merges]}, processor


def assemble(name, vocabulary):
    """The family's tokenizer.json over one of the two vocabularies."""
    family = FAMILIES[name]
    characters = name in CHARACTERS
    ids = dict(vocabulary["vocab"])
    tokens = ([added(t) for t in ("<unk>", "<s>", "</s>")] if characters else []) + copy.deepcopy(family.get("added", []))
    for token in tokens:
        token["id"] = ids.setdefault(token["content"], len(ids))
    tokens.sort(key=lambda token: token["id"])
    model = {"type": "BPE", "dropout": None, "unk_token": "<unk>" if characters else None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
             "fuse_unk": characters, "byte_fallback": characters, "ignore_merges": family.get("ignore_merges", False), **vocabulary}
    post = family.get("post_processor", lambda ids: None)
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": tokens, "normalizer": family.get("normalizer"),
            "pre_tokenizer": family["pre_tokenizer"], "post_processor": post(ids), "decoder": family.get("decoder", BYTE_DECODER), "model": model}


def write_gguf(path, processor):
    writer = gguf.GGUFWriter(path, "llama")
    count = processor.vocab_size()
    kinds = [gguf.TokenType.UNKNOWN if processor.is_unknown(i) else gguf.TokenType.CONTROL if processor.is_control(i) else
             gguf.TokenType.BYTE if processor.is_byte(i) else gguf.TokenType.NORMAL for i in range(count)]
    writer.add_tokenizer_model("llama")
    writer.add_token_list([processor.id_to_piece(i) for i in range(count)])
    writer.add_token_scores([processor.get_score(i) for i in range(count)])
    writer.add_token_types(kinds)
    writer.add_bos_token_id(processor.bos_id())
    writer.add_eos_token_id(processor.eos_id())
    writer.add_add_bos_token(False)
    write(writer)


def write_gguf_bytes(path, model, pre):
    writer = gguf.GGUFWriter(path, "llama")
    tokens = sorted(model["model"]["vocab"], key=model["model"]["vocab"].get)
    kinds = [gguf.TokenType.NORMAL] * len(tokens)
    for token in sorted(model["added_tokens"], key=lambda t: t["id"]):
        if token["id"] == len(tokens):
            tokens.append(token["content"])
            kinds.append(0)
        kinds[token["id"]] = gguf.TokenType.CONTROL if token["special"] else gguf.TokenType.USER_DEFINED
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(merge) for merge in model["model"]["merges"]])
    if pre == "llama-bpe":
        writer.add_bos_token_id(tokens.index("<|begin_of_text|>"))
    write(writer)


def write(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


# What the golden's strings are made of: the C++ test has the same list.
SNIPPETS = ["", " ", "  ", "\n", "\r\n", "\t", "a", "Hello", " world", "I'll", "IT'S", "'\u017f", "we're", "x1234567", "3.14", "\u00bd\u2163", "caf\u00e9", "cafe\u0301",
            "word", "_word_", "x y", "<note>", "<s>", "</s>", "<unk>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "<|x|>", "<|", "|>", "<mask>", "<pad>", "[INST]",
            "[/INST]", "<start_of_turn>", "<table>", "<|user|>", "<|end|>", "<|eot_id|>", "<|begin_of_text|>", "<|endoftext|>", "\n\n\n", BLANK, "\u4f60\u597d\uff0c", "\u3000",
            "\u00a0", "\u0e2a\u0e27\u0e31", "\U0001f468\u200d\U0001f469", "\u1112\u1161\u11ab", "def f(x):", "    return", "!=", "...", "the ", "model", "\u0307\u0323", "<0x41>", "\x00", "\u304c", "\u304b\u3099"]


def snippet_strings(count, seed, ranges):
    """Strings of 1 to 12 parts: a snippet, or up to four characters of any assigned range."""
    numbers = splitmix64(seed)
    total = sum(end - begin + 1 for begin, end in ranges)

    def character():
        at = next(numbers) % total
        for begin, end in ranges:
            if at <= end - begin:
                return chr(begin + at)
            at -= end - begin + 1

    for _ in range(count):
        parts = []
        for _ in range(1 + next(numbers) % 12):
            kind = next(numbers) % 4
            if kind == 0:
                parts.append("".join([character() for _ in range(1 + next(numbers) % 4)]))
            else:
                parts.append(SNIPPETS[next(numbers) % len(SNIPPETS)])
        yield "".join(parts)


def assigned_ranges():
    return json.loads((HERE.parent / "goldens" / "tokenizer.json").read_text())["random"]["assigned_ranges"]


def corpus(data, code):
    wikitext = [line for name in ("test.txt", "valid.txt") for line in (data / "wikitext-2" / name).read_text().splitlines(keepends=True)]
    chinese = [json.loads(line)["context"] for path in sorted((data / "longbench").glob("*_zh*.jsonl")) for line in path.open(encoding="utf-8")]
    chinese = [text[i:i + 200] for text in chinese for i in range(0, len(text), 200)]
    files = [path.read_text(encoding="utf-8", errors="ignore") for path in sorted(code.rglob("*.py"))[:400]]
    lines = [text[i:i + 150] for text in files for i in range(0, len(text), 150)]
    mixer = random.Random(7)
    mixer.shuffle(chinese)
    mixer.shuffle(lines)
    return {"wikitext": wikitext, "chinese": chinese[:25000], "code": lines[:25000], "random": list(snippet_strings(15000, 1, assigned_ranges())),
            "special": list(snippet_strings(40000, 2, [[32, 126], [160, 383]]))}


def ours(program, path, lines):
    result = subprocess.run([program, path, "--decode"], input="\n".join(json.dumps(line) for line in lines) + "\n", capture_output=True, text=True)
    if result.returncode:
        raise SystemExit(f"{path}: {result.stderr}")
    return [json.loads(line) for line in result.stdout.split("\n") if line]


def report(name, kinds, theirs, mine):
    at, failures = 0, []
    for kind, strings in kinds.items():
        bad = [i for i in range(at, at + len(strings)) if theirs[i] != mine[i]]
        failures += [(kind, i) for i in bad[:2]]
        print(f"{name:28} {kind:10} {len(strings) - len(bad):6} of {len(strings):6} equal", flush=True)
        at += len(strings)
    flat = [text for strings in kinds.values() for text in strings]
    for kind, i in failures[:4]:
        print(f"    {kind}: {flat[i]!r}\n      theirs {theirs[i]}\n      ours   {mine[i]}")
    return len(failures) == 0


def compare(program, data, code):
    kinds = corpus(data, code)
    flat = [text for strings in kinds.values() for text in strings]
    training = kinds["wikitext"][:3000] + kinds["chinese"][:2000] + kinds["code"][:4000]
    byte_vocabulary = train_bytes(training, 6000)
    text_vocabulary, processor = train_characters([t.strip("\n").replace("\n", " ") for t in training if t.strip()], 7000)
    good = True
    print(f"{len(flat)} strings")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for name in FAMILIES:
            model = assemble(name, text_vocabulary if name in CHARACTERS else byte_vocabulary)
            path = folder / f"{name}.json"
            path.write_text(json.dumps(model))
            tokenizer = Tokenizer.from_str(path.read_text())
            encoded = [e.ids for e in tokenizer.encode_batch_fast(flat)]
            theirs = [[ids, tokenizer.decode(ids, skip_special_tokens=False), tokenizer.decode(ids)] for ids in encoded]
            good &= report(name, kinds, theirs, ours(program, path, flat))
            pre = {"llama-3": "llama-bpe", "qwen2": "qwen2", "smollm": "smollm", "gpt2": "gpt-2"}.get(name)
            if pre:
                write_gguf_bytes(folder / f"{name}.gguf", model, pre)
                good &= report(name + " as GGUF", kinds, [t[0] for t in theirs], [m[0] for m in ours(program, folder / f"{name}.gguf", flat)])
        write_gguf(folder / "spm.gguf", processor)
        plain = {kind: [t.replace("<s>", "").replace("</s>", "").replace("<unk>", "").replace("\x00", "") for t in strings] for kind, strings in kinds.items()}
        plain = {kind: [t for t in strings if t] for kind, strings in plain.items()}
        flat = [text for strings in plain.values() for text in strings]
        good &= report("sentencepiece as GGUF", plain, processor.encode(flat), [m[0] for m in ours(program, folder / "spm.gguf", flat)])
    raise SystemExit(0 if good else 1)


def golden(repository, out):
    texts = [path.read_text(encoding="utf-8") for path in sorted((repository / "docs").glob("*.md"))] + SNIPPETS * 3
    byte_vocabulary = train_bytes(texts, 700)
    text_vocabulary, processor = train_characters([line for text in texts for line in text.splitlines() if line.strip()], 900)
    strings = list(snippet_strings(4000, 3, assigned_ranges()))
    families = {}
    for name in FAMILIES:
        model = assemble(name, text_vocabulary if name in CHARACTERS else byte_vocabulary)
        tokenizer = Tokenizer.from_str(json.dumps(model))
        encoded = [e.ids for e in tokenizer.encode_batch_fast(strings)]
        del model["model"]["vocab"], model["model"]["merges"]
        blocks = []
        for begin in range(0, len(strings), 500):
            digest = hashlib.sha256()
            for ids in encoded[begin:begin + 500]:
                digest.update(struct.pack(f"<{len(ids)}i", *ids) + tokenizer.decode(ids, skip_special_tokens=False).encode() + b"\n")
            blocks.append(digest.hexdigest()[:16])
        families[name] = {"vocabulary": "characters" if name in CHARACTERS else "bytes", "parts": model, "blocks_of_500": blocks, "tokens": sum(map(len, encoded))}
    result = {"made_with": "tokenizers 0.23.3, sentencepiece 0.2.3", "snippets": SNIPPETS, "strings": len(strings), "seed": 3,
              "bytes": byte_vocabulary, "characters": text_vocabulary, "families": families,
              "scores": [processor.get_score(i) for i in range(processor.vocab_size())]}
    with open(out, "w", encoding="ascii") as file:
        json.dump(result, file, separators=(",", ":"))
        file.write("\n")


if __name__ == "__main__":
    if sys.argv[1] == "compare":
        compare(sys.argv[2], pathlib.Path(sys.argv[3]), pathlib.Path(sys.argv[4]))
    golden(pathlib.Path(sys.argv[2]), sys.argv[3])
