#!/usr/bin/env python3
"""Records tests/goldens/scorers.json: scores of the original programs on synthetic (prediction, answer) pairs.

Wants rouge 1.0.1, fuzzywuzzy 0.18.0 (without python-Levenshtein), jieba 0.42.1 and numpy; LongBench's folder with metrics.py and
eval.py (THUDM/LongBench 2e00731); and the unpacked wheels of lighteval 0.6.2 and lm_eval 0.4.9, of which single functions run.

    tests/oracle/scorers_goldens.py LONGBENCH LIGHTEVAL LM_EVAL tests/goldens/scorers.json

The pairs are drawn by random.Random from the fragments in the golden file, so that the test draws the same ones.
"""
import ast
import hashlib
import json
import random
import re
import string
import sys
import typing
import warnings
from pathlib import Path

import numpy as np

warnings.simplefilter("ignore")
longbench, lighteval, lm_eval = map(Path, sys.argv[1:4])
sys.path.insert(0, str(longbench))
import eval as longbench_eval  # noqa: E402
import metrics  # noqa: E402

metrics.jieba.lcut("x")  # loads the dictionary now, not below the scorers

PAIRS = 5000
FRAGMENTS = {
    "en": ["the ", "a ", "An ", "The", "a", " ", "  ", "\n", ".", ". ", "...", "!", "Hello ", "hello ", "world", "world ", "x-y ", "don't ", "\u0130stanbul ",
           "STRASSE ", "stra\u00dfe ", "\u039f\u0394\u039f\u03a3 ", "\u03a3", "caf\u00e9 ", "cafe\u0301 ", "a\u0301 ", "42 ", "3.14 ", "1,000 ", "\u00a0", "\u2028",
           "\u3000", "\x1c", "\x85", "_", "_a", "\u00b2a ", "\u4e2d\u6587", "\uff0c", "\ufb01ne ", "\U0001d400 ", "\U0001f600 ", "king ", "of ", "France ", "paris ", "PARIS",
           "\u200b", "\u0e01\u0e33 ", "\u2160 ", "\u01c5 "],
    "code": ["return x", "return y", "for i in range(10):", "range(n):", "    ", "\t", "\n", "\n", "#", "//", "`", "self.", "a", "b", " = ", "(", ")", "[0]", "{", "}",
             "import os", "def f(", "\u00e9", "\u53d8\u91cf", "abcdefghijklmnopqrstuvwxyz", "0123456789", "xyxyxyxyxyxyxyxyxyxy", ", ", ";", "\"text\""],
    "classes": ["cat", "dog", "cat dog", "catalog", "Abbreviation", "abbreviation", "Manner", "Manner of an action", "action", "Other ", " other", "\u8d22\u7ecf", "\u8d22",
                " ", "\n", ".", "x", "log", "a"],
    "numbers": ["12", "12 ", "7", "7 ", ", ", " ", "\u0661\u0662 ", "\uff11\uff12", "\u00b3", "\u0967", "x", "-", ".", "Paragraph ", "Paragraph 12", "\u6bb5\u843d", "\u6bb5\u843d7",
                "0", "00012 ", "\n", "\u2460"],
    "zh": ["\u6211\u6765\u5230\u5317\u4eac\u6e05\u534e\u5927\u5b66", "\u5c0f\u660e\u7855\u58eb\u6bd5\u4e1a\u4e8e\u4e2d\u56fd\u79d1\u5b66\u9662\u8ba1\u7b97\u6240", "\u4ed6\u6765\u5230\u4e86\u7f51\u6613\u676d\u7814\u5927\u53a6",
           "\uff0c", "\u3002", ".", "\uff01", "\u201c", "\u201d", "\u3001", " ", "\u3000", "\r\n", "\n", "3.14", "GPT-4", "100%", "C++", "c#", "a.b_c", "AT&T", "\u7684", "\u4e86", "\u662f", "\u4e0d",
           "\u9f98\u9f98", "\u9fd5", "\u9fd6", "\u3400", "\U00020000", "\u6731\u4e3d\u82ac", "\u5434\u66f4\u5f3a", "\u5357\u4eac\u5e02\u957f\u6c5f\u5927\u6865", "\u4e0b\u96e8\u5929\u7559\u5ba2\u5929", "\u4e59", "\u9e1a",
           "\u81ea\u7136\u8bed\u8a00\u5904\u7406", "\u4e91\u8ba1\u7b97", "\u8d5b\u8fbe\u4ea7\u54c1", "\u4e2d\u5916\u79d1\u5b66", "Word", "\uff21", "\u0130", "\u03a3", "\u00e9", "2024\u5e741\u67081\u65e5", "+-", "#"],
    "gsm8k": ["#### ", "#### ", "#### ", "####", "#", "-", "$", "5", "12", "1,000", "18.", "0.5", ".", ",", "\n", " ", "apples", "A", "a ", "\u0661", "Answer: ", "\u00c9", "\u0130"],
    "quasi": ["The ", "an ", "1.0", "1", "1e5", "1E5", "inf", "NaN ", "infinity", "\uff11\uff12", "\u0661", "1,000", "1000", "-", " ", " ", "apple", "Apple ", "apples", "\n", "1e400", "0001",
              "99999999999999999999", "123456789012345678", "10000000000000000", "1_0", "e", "0", "\u00a0", "\u03a3", ".", "!", "\u00b2", "king"],
    "long": [f"w{i} " for i in range(40)] + ["w0 w1 w2 ", "x", "\n"],
    "long_zh": ["\u7684 ", "\u4e86 ", "\u662f ", "\u4e0d ", "\u4e2d\u56fd", "\u5927\u5b66", "\u9f98", "\uff0c", " "],
}
CLASSES = ["cat", "dog", "cat dog", "catalog", "Abbreviation", "Manner", "Manner of an action", "action", "a", "\u8d22\u7ecf", "\u8d22"]
GSM8K_GOLDS = ["apples #### 5", "#### 12", "a\n#### 1,000", "#### -5", "#### 18.", "#### 0.5", "$5", "[invalid]", ""]
NUMBERS = ["12", "7", "0", "\u0661\u0662", "x", "00012", ""]
# name, fragments, most fragments in a text, golds to choose from (none: another text or a changed copy), pairs
SETS = [
    ("classification", "classes", 8, CLASSES, PAIRS), ("code_sim", "code", 50, None, PAIRS), ("count", "numbers", 10, NUMBERS, PAIRS),
    ("retrieval_en", "numbers", 10, [f"{a}Paragraph {b}" for a in ("", "x ", "Paragraph Paragraph ") for b in NUMBERS if b[:1].isdecimal()], PAIRS),
    ("retrieval_zh", "numbers", 10, [f"{a}\u6bb5\u843d{b}" for a in ("", "x ", "\u6bb5\u843d\u6bb5\u843d") for b in NUMBERS if b[:1].isdecimal()], PAIRS),
    ("qa_f1", "en", 16, None, PAIRS), ("rouge_l", "en", 30, None, PAIRS), ("qa_f1_zh", "zh", 12, None, PAIRS), ("rouge_zh", "zh", 12, None, PAIRS),
    ("exact_match@lighteval", "gsm8k", 3, None, PAIRS), ("quasi_exact_match@lighteval", "quasi", 4, None, PAIRS),
    ("gsm8k@lighteval", "gsm8k", 6, None, PAIRS), ("exact_match@lm-eval", "gsm8k", 4, None, PAIRS),
    ("gsm8k_strict@lm-eval", "gsm8k", 8, GSM8K_GOLDS, PAIRS), ("gsm8k_flexible@lm-eval", "gsm8k", 4, GSM8K_GOLDS, PAIRS),
]
LONG_SETS = [("rouge_l", "long", 1100, None, 60), ("rouge_zh", "long_zh", 1100, None, 60)]  # about the recursion limit


def parts_of(numbers, fragments, most):
    return [fragments[numbers.randrange(len(fragments))] for _ in range(numbers.randrange(most + 1))]


def changed(numbers, parts, fragments):
    out = []
    for part in parts:
        kind = numbers.randrange(8)  # 0: dropped, 1: replaced
        if kind == 1:
            out.append(fragments[numbers.randrange(len(fragments))])
        elif kind > 1:
            out.append(part)
    return out


def pairs_of(seed, fragments, most, golds, count):
    numbers = random.Random(seed)
    for _ in range(count):
        prediction = parts_of(numbers, fragments, most)
        if golds is not None:
            gold = golds[numbers.randrange(len(golds))]
        elif numbers.randrange(4) == 0:
            gold = "".join(parts_of(numbers, fragments, most))
        else:
            gold = "".join(changed(numbers, prediction, fragments))
        yield "".join(prediction), gold


def pick(file, names, scope):
    """Runs the definitions of `names` of a module, and nothing else of it."""
    wanted = [node for node in ast.parse(file.read_text(encoding="utf-8")).body if getattr(node, "name", None) in names]
    assert len(wanted) == len(names), (file, names)
    for node in wanted:
        node.decorator_list = []
        exec(compile(ast.Module([node], []), str(file), "exec"), scope)
    return scope


light = pick(lighteval / "lighteval/metrics/normalizations.py", ["helm_normalizer", "gsm8k_normalizer"], {"re": re, "string": string})
exact = pick(lighteval / "lighteval/metrics/metrics_sample.py", ["ExactMatches"], {"Callable": typing.Callable})["ExactMatches"]
scope = {"re": re, "np": np, "string": string, "Filter": object, "Union": typing.Union, "Optional": typing.Optional}
harness_match = pick(lm_eval / "lm_eval/api/metrics.py", ["exact_match_hf_evaluate"], scope)["exact_match_hf_evaluate"]
harness_filter = pick(lm_eval / "lm_eval/filters/extraction.py", ["RegexFilter"], scope)["RegexFilter"]
IGNORED = [",", "\\$", "(?s).*#### ", "\\.$"]  # lm_eval/tasks/gsm8k/gsm8k.yaml, as are the two expressions below
for expression in IGNORED + ["#### (\\-?[0-9\\.\\,]+)", "(-?[$0-9.,]{2,})|(-?[0-9]+)"]:
    assert expression in (lm_eval / "lm_eval/tasks/gsm8k/gsm8k.yaml").read_text().replace("\\\\", "\\"), expression
strict = harness_filter(regex_pattern="#### (\\-?[0-9\\.\\,]+)", group_select=0)
flexible = harness_filter(regex_pattern="(-?[$0-9.,]{2,})|(-?[0-9]+)", group_select=-1)


def filtered(of, text):
    return list(of.apply([[text]], [{}]))[0][0]


def harness(prediction, gold):
    return float(harness_match([prediction], [gold], regexes_to_ignore=IGNORED, ignore_case=True, ignore_punctuation=False)["exact_match"])


def lighteval_match(**options):
    return lambda prediction, gold, **_: exact(strip_strings=True, **options).compute([gold], [prediction])


SCORERS = {
    "classification": metrics.classification_score, "code_sim": metrics.code_sim_score, "count": metrics.count_score,
    "retrieval_en": metrics.retrieval_score, "retrieval_zh": metrics.retrieval_zh_score, "qa_f1": metrics.qa_f1_score,
    "qa_f1_zh": metrics.qa_f1_zh_score, "rouge_l": metrics.rouge_score, "rouge_zh": metrics.rouge_zh_score,
    "exact_match@lighteval": lighteval_match(),
    "quasi_exact_match@lighteval": lighteval_match(normalize_gold=light["helm_normalizer"], normalize_pred=light["helm_normalizer"]),
    "gsm8k@lighteval": lighteval_match(normalize_gold=light["gsm8k_normalizer"], normalize_pred=light["gsm8k_normalizer"]),
    "exact_match@lm-eval": lambda prediction, gold, **_: harness(prediction, gold),
    "gsm8k_strict@lm-eval": lambda prediction, gold, **_: harness(filtered(strict, prediction), gold),
    "gsm8k_flexible@lm-eval": lambda prediction, gold, **_: harness(filtered(flexible, prediction), gold),
}


def scores_of(scorer, texts):  # one frame below the module, where eval.py's scorer stands: the recursion limit counts frames
    out = []
    for prediction, gold in texts:
        out.append(float(scorer(prediction, gold, all_classes=CLASSES)))
    return out


def block_hashes(texts, size=500):
    """Of every `size` texts, each followed by a NUL."""
    return [hashlib.sha256("".join(text + "\0" for text in texts[i:i + size]).encode()).hexdigest()[:16] for i in range(0, len(texts), size)]


def lengths_of(text):
    return ",".join(str(len(token)) for token in metrics.jieba.cut(text))


recorded = []
for number, (name, kind, most, golds, count) in enumerate(SETS + LONG_SETS):
    scores = scores_of(SCORERS[name], list(pairs_of(number, FRAGMENTS[kind], most, golds, count)))
    values = sorted(set(scores))
    place = {value: i for i, value in enumerate(values)}
    recorded.append({"scorer": name, "seed": number, "fragments": kind, "most": most, "golds": golds, "values": values,
                     "scores": [place[score] for score in scores]})
    print(f"{name}: {len(scores)} pairs, {len(values)} values, {scores.count(0)} zeros", file=sys.stderr)

texts = {}
for name, kind, most, function in [
        ("normalise_en", "en", 16, metrics.normalize_answer), ("normalise_zh", "zh", 12, metrics.normalize_zh_answer),
        ("lower", "en", 16, str.lower), ("normalise_helm", "quasi", 6, light["helm_normalizer"]),
        ("gsm8k_strict", "gsm8k", 8, lambda text: filtered(strict, text)), ("gsm8k_flexible", "gsm8k", 8, lambda text: filtered(flexible, text)),
        ("jieba", "zh", 20, lengths_of)]:
    numbers = random.Random(100 + len(texts))
    made = [function("".join(parts_of(numbers, FRAGMENTS[kind], most))) for _ in range(PAIRS)]
    texts[name] = {"seed": 100 + len(texts), "fragments": kind, "most": most, "blocks_of_500": block_hashes(made)}

numbers = random.Random(200)  # characters at random: most words are unknown, so the hidden Markov model cuts
random_han = [lengths_of("".join(chr(0x4E00 + numbers.randrange(0x5200)) for _ in range(numbers.randrange(30)))) for _ in range(PAIRS)]

averages = []
numbers = random.Random(300)
for dataset in ("qasper", "triviaqa"):
    for size in (1, 2, 7, 8, 9, 100, 127, 128, 129, 200, 300, 500):
        pairs = list(pairs_of(300 + size, FRAGMENTS["en"], 16, None, size))
        lengths = [numbers.randrange(12000) if size > 2 else 100 for _ in pairs]
        predictions, answers = [p for p, _ in pairs], [[g] for _, g in pairs]
        by_length = longbench_eval.scorer_e(dataset, predictions, answers, lengths, None)
        averages.append({"dataset": dataset, "seed": 300 + size, "size": size, "lengths": lengths,
                         "score": longbench_eval.scorer(dataset, predictions, answers, None),
                         "by_length": [None if np.isnan(by_length[key]) else float(by_length[key]) for key in ("0-4k", "4-8k", "8k+")]})

golden = {"made_with": f"CPython {sys.version.split()[0]}, rouge 1.0.1, fuzzywuzzy 0.18.0, jieba 0.42.1, numpy {np.__version__}, LongBench 2e00731, "
                       "lighteval 0.6.2, lm_eval 0.4.9",
          "fragments": FRAGMENTS, "classes": CLASSES, "sets": recorded, "texts": texts,
          "random_han": {"seed": 200, "blocks_of_500": block_hashes(random_han)}, "averages": averages}
with open(sys.argv[4], "w", encoding="ascii") as file:
    json.dump(golden, file, separators=(",", ":"))
    file.write("\n")
