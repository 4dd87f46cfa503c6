"""Writes tests/parity/fixtures/tokenizers: texts, and what other programs make of them.

texts.jsonl       one text a line
NAME.jsonl        ids and decoded text of every text by a published vocabulary
cases.jsonl       small tokenizer.json files, one for each kind of component, with the same
pairs.jsonl       pairs of texts cut to a length by BertTokenizerFast

The first line of a file says its version and who made it. A decoded text that equals the text is
null. Vocabularies are read from the folder of test data (SHARED) and from the GGUF file of
SmolLM2; of the latter only the start of the merges is kept.

Usage: python make_tokenizer_fixture.py OUT SHARED SMOLLM2.gguf
       (tokenizers 0.22.2, transformers 4.57.1, tiktoken 0.14, gguf 0.19)
"""

import array
import ctypes
import ctypes.util
import json
import os
import random
import sys
import tempfile
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import gguf
import tiktoken
from tiktoken.load import load_tiktoken_bpe
from tokenizers import Tokenizer, models, trainers
from transformers import BertTokenizerFast, GPT2TokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

VERSION = 1

PLAIN = [
    "",
    " ",
    "a",
    "Hello, world!",
    "Once upon a time, there was a little girl named Lily.",
    "It's they're we've I'm you'll he'd don't IT'S THEY'RE WE'VE I'M YOU'LL HE'D",
    "'s 't 're 've 'm 'll 'd 'S 'T 'ſ ’s ʼn",
    "do not can not, I am . he is ? yes ! no , well ' so n't 'm 's 've 're do not",
    "  two  spaces   three    four ",
    "tabs\tand\t\tmore\t \t mixed",
    "line\nend\n\ntwo\n\n\nthree\n",
    "dos\r\nline\r\n\r\nends\r\n",
    "old mac\rline\r\rends\r",
    "mixed \r\n \n\r \r \n \t\r\n",
    "trailing spaces   ",
    "trailing newline \n",
    "   \n   \n x",
    "\n",
    "\r\n",
    "\t",
    "    ",
    "def f(x):\n    if x:\n        return [i for i in range(10)]\n\telse:\n\t\tpass\n",
    "#include <stdio.h>\nint main(void) { return 0; } /* comment */ // end",
    "https://www.example.com/path?q=1&r=%20#frag mail@example.org",
    "<html><body class=\"x\">&amp; &lt; &#39;</body></html>",
    "{\"key\": [1, 2.5, -3e10, null, true]}",
    "0 1 12 123 1234 12345 123456 1234567 3.14159 1,000,000 -42 +7 1e-5 0xFF",
    "2024-01-31 12:59:59.999 $1,234.56 50% #1 @user",
    "¼ ½ ¾ ² ³ ¹ ① ② ⑩ Ⅳ Ⅻ ⅷ 〇 一二三",
    "٠١٢٣٤٥٦٧٨٩ ०१२३४५६७८९ ０１２３４５６７８９",
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
    "...---!!!???,,,;;;:::",
    "“curly” ‘quotes’ – — … « » ‹ › „ ‚ · • ‰ § ¶ † ‡",
    "€ £ ¥ ₹ ₽ ₿ ¢ ¤ ° ± × ÷ ≠ ≤ ≥ ∞ ∑ ∫ √ ∂",
    "ALL CAPS and MixedCase and camelCaseWord and snake_case_word",
    "a_b __init__ _x x_ kebab-case under_score",
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "pneumonoultramicroscopicsilicovolcanoconiosis" * 3,
    "ab" * 60,
    "a" * 99,
    "a" * 100,
    "a" * 101,
    "é" * 101,
    "x" * 300,
    " " * 40,
    "\n" * 40,
    "=" * 80,
    "-" * 65 + ">",
    "." * 50,
    "1" * 70,
    "日" * 50,
    "ha" * 40 + "!",
    "<|endoftext|>",
    "a<|endoftext|>b",
    "a <|endoftext|> b",
    "<|endoftext|><|endoftext|>",
    "<|endoftext|",
    "<|endoftext|>>",
    "<<|endoftext|>",
    " <|endoftext|>\n<|endoftext|> ",
    "<|ENDOFTEXT|>",
    "<|padding|> <|padding|>x",
    "[CLS] a [SEP] b [SEP]",
    "[MASK]",
    "the [MASK] sat",
    "the[MASK]sat",
    "[mask] [cls] [sep] [unk] [PAD] [UNK]",
    "[ MASK ] [MASK [MASK]] [[MASK]",
    "[unused0] [unused1] [unused99]",
    "<s> </s> <unk> <pad> <mask>",
    "a<s>b</s>c",
    "<|begin_of_text|>Hi<|end_of_text|>",
    "<|start_header_id|>user<|end_header_id|>\n\nHello!<|eot_id|>",
    "<|reserved_special_token_0|><|reserved_special_token_4|><|reserved_special_token_250|>",
    "<|reserved_special_token_251|>",
    "<|im_start|>system\nYou are.<|im_end|>\n<|im_start|>user\n",
    "<repo_name>x<file_sep>y<gh_stars>5",
    "  <|im_end|>  ",
    "a  b   c    d     e      f       g        h",
    "x" + " " * 5 + "y" + " " * 24 + "z" + " " * 25 + "w" + " " * 49,
]

SCRIPTS = [
    "café naïve résumé coöperate Ångström façade piñata",
    "cafe\u0301 nai\u0308ve A\u030angstro\u0308m e\u0323\u0301 e\u0301\u0323",
    "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖØÙÚÛÜÝÞß àáâãäåæçèéêëìíîïðñòóôõöøùúûüýþÿ",
    "Straße STRASSE ẞ ſ ﬀ ﬁ ﬂ ﬃ ﬄ ﬅ ﬆ",
    "İstanbul ıspanak I i İİ iı Iİ",
    "ŁÓDŹ Żółć Příliš žluťoučký kůň őű ĳ Ǆ ǅ ǆ",
    "Tiếng Việt có dấu: ấ ầ ẩ ẫ ậ ắ ằ ẳ ẵ ặ",
    "Ελληνικά: Καλημέρα κόσμε ΣΊΣΥΦΟΣ σίσυφος ς",
    "ἀρχὴ ᾳ ῷ ᾼ Ὀδυσσεύς",
    "Русский текст: Привет, мир! Ёлка ёж Йод й",
    "Українська їжак ґанок є Беларуская ў",
    "Српски Љубљана њ ђ ћ Ћ Монгол өү",
    "עברית: שָׁלוֹם עוֹלָם",
    "العربية: مرحبا بالعالم ‏ـــ مُحَمَّد لا لآ",
    "فارسی: می‌خواهم کتاب‌ها پ چ ژ گ",
    "اردو ہے میں ٹ ڈ ڑ",
    "हिन्दी: नमस्ते दुनिया क्षत्रिय ज़्यादा",
    "বাংলা: ওহে বিশ্ব কো কৌ \u09c7\u09be \u09c7\u09d7",
    "தமிழ்: வணக்கம் உலகம் கொ \u0bc6\u0bbe",
    "తెలుగు ప్రపంచం ಕನ್ನಡ ಪ್ರಪಂಚ മലയാളം ലോകം",
    "ગુજરાતી ਪੰਜਾਬੀ ଓଡ଼ିଆ සිංහල",
    "ภาษาไทย: สวัสดีชาวโลก น้ำ กำ ๑๒๓",
    "ລາວ ສະບາຍດີ ພາສາ",
    "မြန်မာ ဘာသာ ကမ္ဘာ ခမ ភាសាខ្មែរ",
    "བོད་སྐད་ བཀྲ་ཤིས་ ༡༢༣",
    "ქართული გამარჯობა ᲐᲑᲒ Ⴀ ⴀ",
    "Հայերեն բարեւ ևԵՒ",
    "አማርኛ ሰላም ልዑል ፩፪፫",
    "ᐃᓄᒃᑎᑐᑦ ᏣᎳᎩ ꭰ Ꭰ ᚠᚢᚦᚨᚱᚲ ᛮ",
    "中文：你好，世界！这是一个测试。",
    "繁體中文測試，臺灣。「引號」《書名》",
    "日本語: こんにちは世界。カタカナ ひらがな ｶﾞｷﾞ ゔ",
    "か\u3099 は\u309a ガ ｶﾞ ﾊﾟ ー 々 〆 ㍿ ㌔ ㈱",
    "中文English混排test한국어",
    "한국어: 안녕하세요 세계 각 값 힣",
    "\u1112\u1161\u11ab\u1100\u1173\u11af \u1100\u1161 \u1161 \u11a8 ㅎㅏㄴ ﾡ",
    "가\u11a8 각\u11a8 \u1100\u1161\u11a7",
    "㐀 䶿 一 鿿 豈 𠀀 𪛖 𪜀 𫝀 𫠝 𫠠 𬺡 丽 𰀀 𱍐",
    "𝐇𝐞𝐥𝐥𝐨 𝕎𝕠𝕣𝕝𝕕 𝒮𝒸𝓇𝒾𝓅𝓉 𝟘𝟙𝟚 𝟏𝟐",
    "ℌ ℝ ™ ℃ Å K Ω № ℡ ㎏ ㏒ ﷺ ﷽",
    "ＦＵＬＬＷＩＤＴＨ ｆｕｌｌｗｉｄｔｈ！？　（）",
    "H₂O E=mc² x³ 10⁻⁵ aⁿ ᵃᵇᶜ ᴬᴮ",
    "𐐀𐐁 𐐨 𞤀𞤢 𐓀 Ა ა",
    "𓀀𓁐 𒀀𒁀 𐤀𐤁 𐎠 𐌰𐍂 𝄞 𝅘𝅥𝅮",
    "\u0041\u0300\u0301\u0302\u0303\u0304 z\u0335\u0336\u0337\u0338",
    "q\u0307\u0323 q\u0323\u0307 \u0344 \u0340\u0341\u0343 \u0374 \u037e \u0387",
    "ữ \u01b0\u0303 u\u031b\u0303 u\u0303\u031b \u1eef",
    "\u212b \u2126 \u212a \u2000\u2001 \u2329 \uf900 \ufb1d \ufb1f \ufb4f",
    "\u0958 \u0915\u093c \u09dc \u0a33 \u0f43 \u0f73 \u0f75 \u0f81 \u2adc",
    "\u1e9b\u0323 \u017f\u0323\u0307 \u03d3 \u03d4",
    "\u0301start \u0301\u0301 a \u0301",
    "\u0338= <\u0338 >\u0338 =\u0338 \u2260",
    "\u11935\u11930 \U00011935\U00011930 \U00011938",
    "\U0001e030 \U00010781 \ua7f2 \u32ff \U0001fbf0 \uab69",
    "\u0a51 \u0cf3 \u0ece \u1171e \U0001171e \U00010efd \u0897 \u1abf",
    "\u061d \u2e52 \u2e5d \U00010ead \u1b7d \ua876 \u166d \U000111c9",
    "\u1c89 \ua7cb \ua7dc \U00010d50 \U00016ea0 \u10a0 \u13a0",
    "\U00010d40\U00010d41 \U000116d0 \U0001ccf0 \U00011bf0 \U0001e5f1",
    "\U00031350 \U0002ebf0 \U0002b739 \u9fff \u4dbf \U00013460 \U00016100",
]

SIGNS = [
    "😀 😃 😄 😁 😆 😅 😂 🤣",
    "👨‍👩‍👧‍👦 👩‍🔬 🏳️‍🌈 🏴‍☠️ 👩🏽‍🚀",
    "👍🏻 👍🏼 👍🏽 👍🏾 👍🏿 ✌🏽",
    "🇩🇪🇫🇷🇯🇵 🇺🇸🇬 🇧",
    "1️⃣ 2️⃣ #️⃣ *️⃣ ©️ ®️ ™️",
    "❤️ ❤ ☺️ ☺ ☎︎ ☎️",
    "🏴󠁧󠁢󠁥󠁮󠁧󠁿 🏴󠁧󠁢󠁳󠁣󠁴󠁿",
    "🫠 🫨 🪿 🫎 🧑🏻‍🤝‍🧑🏿",
    "→ ← ↑ ↓ ⇒ ⟶ ➜ ▶ ◀ ■ □ ● ○ ★ ☆ ✓ ✗",
    "┌─┬─┐│ │ │└─┴─┘ ░▒▓█ ⠁⠃⠇",
    "a\u00a0b a\u00a0\u00a0b \u00a0a a\u00a0",
    "a\u1680b a\u2000b a\u2001b a\u2002b a\u2003b a\u2004b a\u2005b a\u2006b",
    "a\u2007b a\u2008b a\u2009b a\u200ab a\u202fb a\u205fb a\u3000b",
    "a\u2028b a\u2029b a\u0085b a\u000bb a\u000cb a\u001cb a\u001db a\u001eb a\u001fb",
    "a\u200bb a\u200cb a\u200db a\u2060b a\ufeffb a\u180eb",
    "\ufeffBOM first",
    "a\u00adb soft\u00adhyphen",
    "\u202eright to left\u202c \u2066isolate\u2069 \u200e\u200f",
    "\u0000",
    "a\u0000b\u0000",
    "\u0001\u0002\u0003\u0004\u0005\u0006\u0007\u0008\u000e\u000f\u0010\u001b\u007f",
    "\u0080\u0081\u008d\u0090\u009f",
    "\ufffd\ufffd a\ufffdb",
    "\ufffe \uffff \ufdd0 \U0001fffe \U0010ffff",
    "\ue000 \uf8ff \U000f0000 \U00100000",
    "\u0378 \u0530 \u2fe0 \U00012fff \U0003fffd \U000e0080",
    "\U000e0001\U000e0041 \ufe00 \ufe0f \U000e0100 \ufff9\ufffa\ufffb",
    " \u200d \u200d\u200d a\u200d\u0301",
    "\u00a0 \u3000 \u2003 \u00a0\n\u00a0",
    "\u2028\u2029\u2028",
    " \u0301a",
    "\t\u00a0\t",
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 🄰🄱 🅐 🅰️ ⓐ ⒜ ㋿",
    "Z͑ͫ̓ͪ̂ͫ̽͏̴̙̤̞͉͚̯̞̠͍A̴̵̜̰͔ͫ͗͢L̠ͨͧͩ͘G̴̻͈͍͔̹̑͗̎̅͛́Ǫ̵̹̻̝̳͂̌̌͘!",
    "a\u0301" * 30,
    "\u0301" * 40,
    "\u0323\u0301" * 20,
    "👩‍👩‍👧" * 8,
    "ａ" * 40,
    "각" * 30,
    "مـ" * 20,
]

FRAGMENTS = [
    "a", "B", "the", " of", "'s", "'LL", "ing", "12", "3", " ", "  ", "\n", "\r\n", "\t", ".", ",",
    "!?", "é", "e\u0301", "ß", "ñ", "Ж", "日本", "한", "\u1100\u1161", "م", "ा", "\u00a0", "\u3000",
    "\u200b", "\u200d", "👍", "🏽", "🇩🇪", "\ufe0f", "½", "²", "Ⅳ", "<|endoftext|>", "[MASK]", "<s>",
    "[SEP]", "<|im_end|>", "_", "-", "#", "##", "##a", "▁", "</w>", "Ġ", "<0x0A>", "don't", "n't",
    "\u0000", "\ufffd", "𝟘", "ﬁ", "İ", "Σ", "\u0338", "€", "…", "“", "—", "c++", "x=1;",
]  # fmt: skip

# Texts that the small cases see: few and short, but one of each kind.
CASE_TEXTS = (
    ["", " ", "a", "Hello, world!", "  two  spaces ", "It's 12 o'clock; don't go.", "a\tb\nc\r\nd"]
    + ["1 22 333 4a5b", "a_b-c_d", "<s>a</s> b<s> c", "x <mask> y", "x<mask>y", " [TOK] [tok]", "tokens tok"]
    + ["Café CAFÉ cafe\u0301 Ångström", "İstanbul ſs ﬁ ½", "日本語と中文 한국어", "\u1100\u1161\u11a8"]
    + ["a\u00a0b\u3000c\u200bd", "👩‍🔬👍🏽", "...!? --", "\n\n  \n", "the cat sat on the mat", "▁a▁b ▁ c"]
    + ["##a </w> Ġ <0x0A> é", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]
    + ["...a", "a...", "a b", " a", "b ", "A man's thing, no. , yes ! he 's do not", "\u0000x\ufffd\u0085", "²③Ⅳ٣"]
)  # fmt: skip


def make_texts():
    texts = PLAIN + SCRIPTS + SIGNS
    rng = random.Random(20)
    for i in range(170):
        texts.append("".join(rng.choice(FRAGMENTS) for _ in range(rng.randint(2, 14))))
    return list(dict.fromkeys(texts))


def header(peer):
    return {"version": VERSION, "generator": "tests/parity/make_tokenizer_fixture.py", "peer": peer}


def write_lines(path, peer, lines):
    with open(path, "w", encoding="ascii") as file:
        for line in [header(peer)] + lines:
            file.write(json.dumps(line, separators=(",", ":")) + "\n")


def xxh3(ids):
    """XXH3-128 of the ids as int32."""

    class Hash(ctypes.Structure):
        _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]

    library = ctypes.CDLL(ctypes.util.find_library("xxhash"))
    library.XXH3_128bits.restype = Hash
    library.XXH3_128bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    data = array.array("i", ids).tobytes()
    value = library.XXH3_128bits(data, len(data))
    return f"{value.high:016x}{value.low:016x}"


def entry(text, ids, decoded, special_ids=None):
    line = {"ids": ids, "text": None if decoded == text else decoded}
    if special_ids is not None and special_ids != ids:
        line["special"] = special_ids
    return line


def published(name, peer, texts, valid, encode, decode, out):
    lines = []
    for text in texts:
        ids = encode(text, False)
        lines.append(entry(text, ids, decode(ids)))
    ids = encode(valid, False)
    lines.append({"wikitext2_valid": xxh3(ids), "count": len(ids)})
    lines.append({"special": encode("Hello, world!", True)})
    write_lines(out / f"{name}.jsonl", peer, lines)


def transformers_peer(tokenizer):
    def encode(text, special):
        return tokenizer(text, add_special_tokens=special).input_ids

    return encode, lambda ids: tokenizer.decode(ids, skip_special_tokens=True)


def package_peer(tokenizer):
    def encode(text, special):
        return tokenizer.encode(text, add_special_tokens=special).ids

    return encode, lambda ids: tokenizer.decode(ids, skip_special_tokens=True)


def tiktoken_peer(path):
    ranks = load_tiktoken_bpe(str(path))
    names = ["<|begin_of_text|>", "<|end_of_text|>"]
    names += [f"<|reserved_special_token_{i}|>" for i in range(4)]
    names += ["<|start_header_id|>", "<|end_header_id|>", "<|reserved_special_token_4|>", "<|eot_id|>"]
    names += [f"<|reserved_special_token_{i}|>" for i in range(5, 251)]
    special = {name: len(ranks) + i for i, name in enumerate(names)}
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    encoding = tiktoken.Encoding("llama3", pat_str=pattern, mergeable_ranks=ranks, special_tokens=special)

    def encode(text, add):
        ids = encoding.encode(text, allowed_special="all")
        return [special["<|begin_of_text|>"]] + ids if add else ids

    return encode, lambda ids: encoding.decode([i for i in ids if i < len(ranks)])


SMOLLM2_PRE = {
    "type": "Sequence",
    "pretokenizers": [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    ],
}
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}


def added(id, content, special=True, **flags):
    token = {"id": id, "content": content, "single_word": False, "lstrip": False, "rstrip": False}
    return token | {"normalized": not special, "special": special} | flags


def smollm2_form(path):
    """The first merges of SmolLM2's vocabulary in the form of its tokenizer.json."""
    reader = gguf.GGUFReader(path)

    def strings(key):
        field = reader.fields[key]
        return [bytes(field.parts[i]).decode() for i in field.data]

    tokens = strings("tokenizer.ggml.tokens")
    merges = [m.split(" ") for m in strings("tokenizer.ggml.merges")[:2500]]
    special = tokens[:17]
    kept = list(special) + sorted(set(bytes_to_unicode().values()))
    kept += list(dict.fromkeys(a + b for a, b in merges))
    vocab = {token: i for i, token in enumerate(dict.fromkeys(kept))}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [added(i, token) for i, token in enumerate(special)],
        "normalizer": None,
        "pre_tokenizer": SMOLLM2_PRE,
        "post_processor": None,
        "decoder": BYTE_LEVEL,
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                  "ignore_merges": False, "vocab": vocab, "merges": merges},
    }  # fmt: skip


def trained_models(sample):
    """Small models whose tokens reach over spaces and signs, so that every cut shows in the ids."""

    def train(model, trainer, texts):
        tokenizer = Tokenizer(model)
        tokenizer.train_from_iterator(texts, trainer)
        return json.loads(tokenizer.to_str())["model"]

    to_chars = bytes_to_unicode()
    byte_texts = ["".join(to_chars[b] for b in text.encode()) for text in sample]
    alphabet = sorted(set(to_chars.values()))
    plain = [text.replace(" ", "▁") for text in sample] + sample
    byte_tokens = [f"<0x{b:02X}>" for b in range(256)]
    words = sorted({word for text in sample for word in text.lower().split()})[:150]
    pieces = models.WordPiece(unk_token="[UNK]")
    return {
        "bytes": train(models.BPE(), trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, special_tokens=["<s>", "</s>"], show_progress=False), byte_texts),
        "chars": train(models.BPE(unk_token="<unk>"), trainers.BpeTrainer(vocab_size=260, limit_alphabet=70, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False), plain),
        "fallback": train(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True), trainers.BpeTrainer(vocab_size=480, limit_alphabet=70, special_tokens=["<unk>", "<s>", "</s>"] + byte_tokens, show_progress=False), plain),
        "suffix": train(models.BPE(unk_token="<unk>", end_of_word_suffix="</w>"), trainers.BpeTrainer(vocab_size=260, limit_alphabet=60, end_of_word_suffix="</w>", special_tokens=["<unk>"], show_progress=False), [w for t in sample for w in t.split()]),
        "prefix": train(models.BPE(unk_token="<unk>", continuing_subword_prefix="##"), trainers.BpeTrainer(vocab_size=260, limit_alphabet=60, continuing_subword_prefix="##", special_tokens=["<unk>"], show_progress=False), [w for t in sample for w in t.split()]),
        "wordpiece": train(pieces, trainers.WordPieceTrainer(vocab_size=300, limit_alphabet=80, special_tokens=["[UNK]", "[CLS]", "[SEP]"], show_progress=False), [w for t in sample for w in t.split()]),
        "wordlevel": {"type": "WordLevel", "vocab": {w: i for i, w in enumerate(["[UNK]"] + words)}, "unk_token": "[UNK]"},
    }  # fmt: skip


def make_cases():
    """Name, model, and the members of the tokenizer.json that the case is about."""
    cases = []

    def case(name, base, **members):
        cases.append((name, base, members))

    tokens = [
        added(1000, "<mask>", lstrip=True),
        added(1001, "[TOK]", special=False),
        added(1002, "tok", special=False, single_word=True),
        added(1003, "12", special=False, normalized=False, rstrip=True),
        added(1004, "  ", special=False),
        added(1005, "É", special=False, normalized=True),
    ]
    behaviors = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
    for behavior in behaviors:
        for invert in (False, True):
            for kind, pattern in [("Regex", r"\d|\.+|[^\S\r\n]"), ("String", " "), ("Regex", r"x*")]:
                if pattern == "x*" and invert:
                    continue
                split = {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}
                case(f"split {behavior} {invert} {pattern}", "chars", pre_tokenizer=split)
        case(f"punctuation {behavior}", "chars", pre_tokenizer={"type": "Punctuation", "behavior": behavior})
    for individual in (False, True):
        case(f"digits {individual}", "chars", pre_tokenizer={"type": "Digits", "individual_digits": individual})
    for kind in ["Whitespace", "WhitespaceSplit", "BertPreTokenizer"]:
        case(kind, "chars", pre_tokenizer={"type": kind})
    case("CharDelimiterSplit", "chars", pre_tokenizer={"type": "CharDelimiterSplit", "delimiter": "_"})
    for prefix in (False, True):
        for use_regex in (False, True):
            step = {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": use_regex}
            case(f"bytes {prefix} {use_regex}", "bytes", pre_tokenizer=step, decoder=BYTE_LEVEL, added_tokens=tokens)
    for scheme in ["always", "first", "never"]:
        for split in (False, True):
            step = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split}
            case(f"metaspace {scheme} {split}", "chars", pre_tokenizer=step, decoder=step, added_tokens=tokens)
            lower = {"type": "Sequence", "normalizers": [{"type": "Strip", "strip_left": True, "strip_right": True}, {"type": "Lowercase"}]}
            case(f"metaspace {scheme} {split} after strip", "fallback", normalizer=lower, pre_tokenizer=step, decoder=step)
    for form in ["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents"]:
        case(form, "fallback", normalizer={"type": form}, added_tokens=tokens, decoder={"type": "ByteFallback"})
    for clean in (False, True):
        for accents in (None, False, True):
            for lower in (False, True):
                norm = {"type": "BertNormalizer", "clean_text": clean, "handle_chinese_chars": not clean, "strip_accents": accents, "lowercase": lower}
                case(f"bert {clean} {accents} {lower}", "fallback", normalizer=norm, added_tokens=tokens)
    for left, right in [(True, False), (False, True), (True, True)]:
        case(f"strip {left} {right}", "chars", normalizer={"type": "Strip", "strip_left": left, "strip_right": right})
    case("replace string", "chars", normalizer={"type": "Replace", "pattern": {"String": "a"}, "content": "o."}, added_tokens=tokens)
    case("replace regex", "chars", normalizer={"type": "Replace", "pattern": {"Regex": r"\s+|\d"}, "content": "▁"})
    case("replace empty", "chars", normalizer={"type": "Replace", "pattern": {"Regex": r"(?i:the)|q*"}, "content": ""})
    llama = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}
    undo = {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    template = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                "pair": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "<s>", "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}  # fmt: skip
    special = [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")]
    case("llama", "fallback", normalizer=llama, decoder=undo, post_processor=template, added_tokens=special)
    case("llama lstrip rstrip", "fallback", normalizer=llama, decoder=undo, added_tokens=[added(0, "<unk>"), added(1, "<s>", lstrip=True, rstrip=True), added(2, "</s>", normalized=True)])
    case("no fusing", "fallback", model={"fuse_unk": False, "byte_fallback": False}, decoder={"type": "Fuse"})
    case("fusing", "fallback", model={"fuse_unk": True, "byte_fallback": False}, decoder={"type": "Strip", "content": "a", "start": 2, "stop": 0})
    case("no unknown", "chars", model={"unk_token": None})
    case("unk without byte", "bytes", pre_tokenizer=BYTE_LEVEL, model={"ignore_merges": True}, decoder=BYTE_LEVEL)
    bert = {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]}
    roberta = {"type": "RobertaProcessing", "sep": ["</s>", 1], "cls": ["<s>", 0], "trim_offsets": True, "add_prefix_space": False}
    case("roberta", "bytes", pre_tokenizer=BYTE_LEVEL, post_processor=roberta, decoder=BYTE_LEVEL, added_tokens=[added(0, "<s>"), added(1, "</s>")])
    sequence = {"type": "Sequence", "processors": [BYTE_LEVEL, template]}
    case("sequence of processors", "bytes", pre_tokenizer=BYTE_LEVEL, post_processor=sequence, decoder=BYTE_LEVEL)
    for cleanup in (False, True):
        case(f"wordpiece {cleanup}", "wordpiece", normalizer={"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True},
             pre_tokenizer={"type": "BertPreTokenizer"}, decoder={"type": "WordPiece", "prefix": "##", "cleanup": cleanup}, post_processor=bert, added_tokens=[added(0, "[UNK]"), added(1, "[CLS]"), added(2, "[SEP]")])  # fmt: skip
    case("wordpiece short", "wordpiece", model={"max_input_chars_per_word": 3}, pre_tokenizer={"type": "WhitespaceSplit"})
    case("wordlevel", "wordlevel", normalizer={"type": "Lowercase"}, pre_tokenizer={"type": "WhitespaceSplit"})
    case("suffix", "suffix", pre_tokenizer={"type": "WhitespaceSplit"}, decoder={"type": "BPEDecoder", "suffix": "</w>"})
    case("prefix", "prefix", pre_tokenizer={"type": "Whitespace"}, decoder={"type": "WordPiece", "prefix": "##", "cleanup": False})
    chain = {"type": "Sequence", "pretokenizers": [{"type": "Digits", "individual_digits": False}, {"type": "Punctuation", "behavior": "Contiguous"}, {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}]}]}
    case("sequence of cuts", "chars", pre_tokenizer=chain)
    case("bytes not last", "bytes", pre_tokenizer={"type": "Sequence", "pretokenizers": [BYTE_LEVEL, {"type": "Split", "pattern": {"String": "Ġ"}, "behavior": "Isolated", "invert": False}]}, decoder=BYTE_LEVEL)
    gpt4 = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"
    case("gpt-4 pattern", "bytes", pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": gpt4}, "behavior": "Removed", "invert": True}, {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]}, decoder=BYTE_LEVEL)
    llama3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    case("llama-3", "bytes", model={"ignore_merges": True}, pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": llama3}, "behavior": "Isolated", "invert": False}, {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]},
         post_processor=sequence, decoder=BYTE_LEVEL, added_tokens=[added(0, "<s>"), added(1, "</s>")])  # fmt: skip
    classes = r"[\w']+|\h|[[:punct:]]|\p{Han}+|[^\p{Ll}\S]"
    for pattern in [r"\b", r"\B.", r"\p{N}{1,3}+", r"[ab]{,2}", r"t(?i)h|S", r"(?m)[.].+", r"[\W\d]+", r"[^\W_]+", r"[^\S\r\n]+", r"[\P{L}\p{Lu}]", r"\p{C}", r"\v", r"(a){2}?t"]:
        case(f"pattern {pattern}", "fallback", pre_tokenizer={"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False})
    case("replace then metaspace first", "chars", normalizer={"type": "Replace", "pattern": {"Regex": r"\w{1,2}"}, "content": "a"},
         pre_tokenizer={"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True})  # fmt: skip
    case("replace in decoder", "wordpiece", decoder={"type": "Sequence", "decoders": [{"type": "WordPiece", "prefix": "a", "cleanup": False}, {"type": "Replace", "pattern": {"Regex": "q*"}, "content": "."}]})
    case("tokens that strip", "fallback", added_tokens=[added(1000, "a", special=False, rstrip=True), added(1001, "\n", special=False, lstrip=True), added(1002, "b", special=False, lstrip=True, rstrip=True), added(1003, "\u00a0", special=False, lstrip=True)])
    case("tokens that normalise alike", "fallback", normalizer={"type": "NFC"}, added_tokens=[added(1000, "\u00e9", special=False), added(1001, "e\u0301", normalized=True)])
    case("classes", "fallback", pre_tokenizer={"type": "Split", "pattern": {"Regex": classes}, "behavior": "Isolated", "invert": False})
    return cases


def case_json(model_name, members, trained):
    model = dict(trained[model_name])
    model.update(members.get("model", {}))
    spec = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
            "pre_tokenizer": None, "post_processor": None, "decoder": None}  # fmt: skip
    spec.update({key: value for key, value in members.items() if key != "model"})
    size = len(model["vocab"])
    spec["added_tokens"] = [dict(token) for token in spec["added_tokens"]]
    for token in spec["added_tokens"]:
        if token["id"] >= 1000:
            known = model["vocab"].get(token["content"])
            if known is None:
                token["id"] = size
                size += 1
            else:
                token["id"] = known
    spec["model"] = model
    return spec


def write_cases(out, sample):
    trained = trained_models(sample)
    lines = [{"texts": CASE_TEXTS}, {"models": trained}]
    for name, model_name, members in make_cases():
        spec = case_json(model_name, members, trained)
        tokenizer = Tokenizer.from_str(json.dumps(spec))
        ids, decoded, special = [], [], []
        for text in CASE_TEXTS:
            ids.append(tokenizer.encode(text, add_special_tokens=False).ids)
            decoded.append(tokenizer.decode(ids[-1], skip_special_tokens=True))
            special.append(tokenizer.encode(text, add_special_tokens=True).ids)
        pair = tokenizer.encode("a b", "c", add_special_tokens=True)
        line = {"name": name, "base": model_name, "ids": ids, "text": decoded}
        line["members"] = {key: value for key, value in spec.items() if key != "model" and value not in (None, [])}
        line["model"] = members.get("model", {})
        line["pair"] = [pair.ids, pair.type_ids]
        if special != ids:
            line["special"] = special
        lines.append(line)
    write_lines(out / "cases.jsonl", "tokenizers 0.22.2", lines)
    return len(lines) - 2


def write_pairs(out, tokenizer):
    rng = random.Random(3)
    words = "the quick brown fox jumps over a lazy dog unbelievable tokenization [SEP] café".split()
    lines = []
    for _ in range(60):
        # An empty second text is none at all to transformers.
        texts = [" ".join(rng.choice(words) for _ in range(rng.randint(low, 12))) for low in (0, 1)]
        second = texts[1] if rng.random() < 0.8 else None
        length = rng.randint(4, 24)
        got = tokenizer(texts[0], second, truncation=True, max_length=length)
        lines.append({"first": texts[0], "second": second, "max_length": length,
                      "ids": got.input_ids, "type_ids": got.token_type_ids})  # fmt: skip
    write_lines(out / "pairs.jsonl", "transformers 4.57.1 BertTokenizerFast", lines)


def main():
    out, shared, smollm2 = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    out.mkdir(parents=True, exist_ok=True)
    texts = make_texts()
    write_lines(out / "texts.jsonl", "none", texts)
    valid = (shared / "lm/wikitext2/valid.txt").read_text(encoding="utf-8")
    vocab = shared / "tokenizers"
    gpt2 = GPT2TokenizerFast(str(vocab / "gpt2/vocab.json"), str(vocab / "gpt2/merges.txt"))
    published("gpt2", "transformers 4.57.1 GPT2TokenizerFast", texts, valid, *transformers_peer(gpt2), out)
    bert = BertTokenizerFast(str(vocab / "bert-base-uncased/vocab.txt"))
    published("bert", "transformers 4.57.1 BertTokenizerFast", texts, valid, *transformers_peer(bert), out)
    write_pairs(out, bert)
    cased = BertTokenizerFast(str(vocab / "bert-base-uncased/vocab.txt"), do_lower_case=False, tokenize_chinese_chars=False)
    published("bert_cased", "transformers 4.57.1 BertTokenizerFast, do_lower_case and tokenize_chinese_chars false",
              texts, valid, *transformers_peer(cased), out)  # fmt: skip
    neox = Tokenizer.from_file(str(vocab / "gpt-neox-20b/tokenizer.json"))
    published("neox", "tokenizers 0.22.2", texts, valid, *package_peer(neox), out)
    llama3 = tiktoken_peer(vocab / "llama3/tokenizer.model")
    published("llama3", f"tiktoken {tiktoken.__version__}", texts, valid, *llama3, out)
    form = smollm2_form(smollm2)
    (out / "smollm2_form.json").write_text(json.dumps(form, separators=(",", ":")), encoding="ascii")
    published("smollm2_form", "tokenizers 0.22.2", texts, valid, *package_peer(Tokenizer.from_str(json.dumps(form))), out)
    sample = texts + (shared / "lm/tinyshakespeare/input.txt").read_text()[:60000].split("\n\n")
    print(f"{len(texts)} texts, {write_cases(out, sample)} cases")


if __name__ == "__main__":
    main()
