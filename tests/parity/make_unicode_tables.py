"""Writes src/tokenizers/unicode_tables.h: the character classes of the `tokenizers` package, read off it.

The package mixes tables of several Unicode versions (Rust's own, unicode_categories of Unicode 8,
unicode-normalization of 12, Oniguruma of 16), which differ from those of PCRE2 and utf8proc.

Usage: python make_unicode_tables.py OUT.h    (tokenizers 0.22.2, regex, Python 3.11)
"""

import sys
import unicodedata

import regex
from tokenizers import Regex, normalizers, pre_tokenizers

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
# Python 3.11 has the Unicode 14 of PCRE2 10.42; a later PCRE2 knows some of these itself.
CATEGORIES = "L Lu Ll Lm Lo M Mn Mc N Nd Nl No P Po S So Sm Han".split()


def ranges(code_points):
    out = []
    for c in code_points:
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def cut_by(pre_tokenizer):
    """Code points that end a word."""
    return [c for c in CODE_POINTS if len(pre_tokenizer.pre_tokenize_str(f"a{chr(c)}a")) != 1]


def word_characters():
    words = pre_tokenizers.Whitespace()
    return [c for c in CODE_POINTS if len(words.pre_tokenize_str(f"a{chr(c)}a")) == 1]


def dropped_by(normalizer):
    return [c for c in CODE_POINTS if c not in (0, 0xFFFD) and not normalizer.normalize_str(chr(c))]


def new_in(category):
    """Code points of `category` that are not so in Unicode 14."""
    split = pre_tokenizers.Split(Regex(rf"\p{{{category}}}"), "removed")
    found = (c for c in CODE_POINTS if len(split.pre_tokenize_str(chr(c))) == 0)
    if category == "Han":
        return [c for c in found if unicodedata.category(chr(c)) == "Cn"]
    return [c for c in found if not unicodedata.category(chr(c)).startswith(category)]


def unknown_to_normal_forms():
    """Marks that are not reordered and characters that are not decomposed, but should be."""
    nfd, nfkd = normalizers.NFD(), normalizers.NFKD()
    is_starter = regex.compile(r"\p{ccc=NR}")
    decomposes = regex.compile(r"\p{NFKD_QC=N}")
    out = {0x11930}  # U+11935 U+11930 do not compose
    for c in CODE_POINTS:
        ch = chr(c)
        moves = nfd.normalize_str("\u0345" + ch) != "\u0345" + ch
        if not is_starter.match(ch) and not moves and c != 0x345:
            out.add(c)
        if decomposes.match(ch) and nfkd.normalize_str(ch) == ch:
            out.add(c)
    return sorted(out)


def new_lower():
    lower = normalizers.Lowercase()
    out = []
    for c in CODE_POINTS:
        result = lower.normalize_str(chr(c))
        if result != chr(c).lower() and c != 0x130:
            assert len(result) == 1, hex(c)
            out.append([c, ord(result)])
    return out


def table(name, comment, pairs):
    lines = [f"// {comment}", f"inline constexpr CodePointRange {name}[] = {{"]
    line = "   "
    for first, last in pairs:
        item = f" {{0x{first:X}, 0x{last:X}}},"
        if len(line) + len(item) > 100:
            lines.append(line)
            line = "   "
        line += item
    lines += [line.rstrip(","), "};", ""]
    return lines


def main():
    bert = normalizers.BertNormalizer
    clean = bert(clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False)
    strip = bert(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)
    lines = [
        "#pragma once",
        "",
        "#include <string_view>",
        "",
        "// Made by tests/parity/make_unicode_tables.py from tokenizers 0.22.2; not to be edited.",
        "// clang-format off",
        "",
        "namespace lowbank {",
        "",
        "struct CodePointRange {",
        "  char32_t first;",
        "  char32_t last;",
        "};",
        "",
    ]
    numeric = ranges(cut_by(pre_tokenizers.Digits(individual_digits=True)))
    lines += table("kNumericRanges", "Nd, Nl, No.", numeric)
    punctuation = ranges(cut_by(pre_tokenizers.Punctuation()))
    lines += table("kPunctuationRanges", "P* and the ASCII signs.", punctuation)
    lines += table("kWordRanges", "\\w of the Rust crate regex.", ranges(word_characters()))
    marks = ranges(dropped_by(normalizers.StripAccents()))
    lines += table("kMarkRanges", "Marks that StripAccents drops.", marks)
    spacing = ranges(dropped_by(strip))
    lines += table("kNonspacingMarkRanges", "Marks that BertNormalizer drops.", spacing)
    lines += table("kControlRanges", "What BertNormalizer's clean_text drops.",
                   ranges(dropped_by(clean)))
    lines += table("kUnknownToFormsRanges", "Characters that the normal forms leave where they are.",
                   ranges(unknown_to_normal_forms()))
    lines += table("kLowerAdditions", "Upper and lower case newer than Unicode 14.", new_lower())
    names = []
    for category in CATEGORIES:
        pairs = ranges(new_in(category))
        if pairs:
            lines += table(f"k{category}Additions", f"\\p{{{category}}} newer than Unicode 14.", pairs)
            names.append(category)
    lines.append("}  // namespace lowbank")
    with open(sys.argv[1], "w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")
    print({"bytes": sum(len(line) + 1 for line in lines), "categories": names})


main()
