#include "tokenizers/gguf_pre_tokenizer.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "tokenizers/unicode.h"

namespace lowbank::tokenizers {
namespace {

using Json = nlohmann::ordered_json;

const std::string kGgufGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
const std::string kDigitPattern = R"(\p{N})";

// As tokenizer.json files spell it, and what llama.cpp does: U+017F is an s only for the first.
const std::string kContractionsAnyCase = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const std::string kContractions = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";

std::string cl100k(const std::string& digits) {
  return kContractions + R"(|[^\r\n\p{L}\p{N}]?\p{L}+|)" + digits +
         R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
}

// Words of upper then lower case letters, where only ASCII letters have a case.
std::string cased_words(const std::string& ending, const std::string& digits) {
  const std::string upper = R"((?:(?=\p{L})[^a-z]))";
  const std::string lower = R"((?:(?=\p{L})[^A-Z]))";
  const std::string before = R"([^\r\n\p{L}\p{N}]?)";
  return before + upper + "*" + lower + "+" + ending + "|" + before + upper + "+" + lower + "*" +
         ending + "|" + digits + R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
}

// Characters of Chinese, Japanese and Korean, as DeepSeek's first tokenizers bound them: the range
// has Unicode's spaces in it, which llama.cpp does not see there.
const std::string kDeepseekCjkAndSpaces =
    R"([\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}]+)";
const std::string kDeepseekCjk =
    R"((?:(?!\s)[\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}])+)";

// Letters with a case (Lu, Ll, Lt of an older Unicode, spelled out by DeepSeek's tokenizer.json).
const std::string kDeepseekLetters =
    R"(\s?[A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293})"
    R"(\x{295}-\x{2AF}\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A})"
    R"(\x{38C}\x{38E}-\x{3A1}\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556})"
    R"(\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF})"
    R"(\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D})"
    R"(\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D})"
    R"(\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4})"
    R"(\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4})"
    R"(\x{1FF6}-\x{1FFC}\x{2102}\x{2107}\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124})"
    R"(\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F})"
    R"(\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4})"
    R"(\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F})"
    R"(\x{A771}-\x{A787}\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17})"
    R"(\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}\x{10400}-\x{1044F}\x{104B0}-\x{104D3})"
    R"(\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF})"
    R"(\x{1E900}-\x{1E943}]+)";

struct PreTokenizerRow {
  std::vector<std::string> names;  // the first is what we write
  GgufPreTokenizer pre;
};

// Rows that differ only in flags stand before those that match the same patterns without them.
const std::vector<PreTokenizerRow>& pre_tokenizer_rows() {
  static const std::string anything_but_ends =
      R"( ?[^(\s|.,!?\x{2026}\x{3002}\x{FF0C}\x{3001}\x{964}\x{6D4}\x{60C})]+)";
  static const std::vector<PreTokenizerRow> rows = {
      {{"gpt-2", "phi-2", "mpt", "olmo", "jais", "exaone4", "gigachat", "a.x-4.0", "mellum",
        "trillion", "granite-docling"},
       {{kGgufGpt2Pattern}}},
      {{"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"},
       {{cl100k(R"(\p{N}{1,3})")}, true, true}},
      {{"glm4", "glm5"}, {{cl100k(R"(\p{N}{1,3})")}, true, false}},
      {{"dbrx", "smaug-bpe", "chatglm-bpe"}, {{cl100k(R"(\p{N}{1,3})")}}},
      {{"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b",
        "mellum2"},
       {{kDigitPattern, kGgufGpt2Pattern}}},
      {{"qwen2", "stablelm2", "deepseek-r1-qwen", "kormo", "f2llmv2", "hunyuan", "solar-open",
        "megrez", "grok-2"},
       {{cl100k(R"(\p{N})")}}},
      {{"qwen35"},
       {{kContractions + R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*)"
                         R"(|\s*[\r\n]+|\s+(?!\S)|\s+)"}}},
      {{"seed-coder"},
       {{kContractions + R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+)"
                         R"(|\s*[\r\n]+|\s+(?!\S)|\s+)"}}},
      {{"bailingmoe", "bailingmoe2", "llada-moe"},
       {{R"('(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})"
         R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)"}}},
      {{"deepseek-llm"},
       {{R"([\r\n])", kDeepseekLetters,
         R"(\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3001}-\x{3002}]+)",
         R"(\s+$)", kDeepseekCjk, R"(\p{N}+)"}}},
      {{"deepseek-coder"},
       {{R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", kDeepseekCjk, kDigitPattern}}},
      {{"deepseek-v3", "hunyuan-dense", "joyai-llm"},
       {{R"(\p{N}{1,3})", R"([\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)",
         R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+)"
         R"(| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"}}},
      {{"falcon"}, {{R"([\p{P}\$\+<=>\^~\|`]+)", kGgufGpt2Pattern, "[0-9][0-9][0-9]"}}},
      {{"tekken"}, {{cased_words("", R"(\p{N})")}, true, true}},
      {{"gpt-4o", "llama4", "kanana2", "minimax-m2"},
       {{cased_words(kContractions + "?", R"(\p{N}{1,3})")}}},
      {{"bloom", "poro-chat", "gpt3-finnish"}, {{anything_but_ends}}},
      {{"viking"}, {{anything_but_ends, kDigitPattern}}},
      // What llama.cpp takes for files from before the key, and warns of.
      {{"default"},
       {{R"([\p{P}\$\+<=>\^~\|]+)", kGgufGpt2Pattern, R"(\p{N}+)", "[0-9][0-9][0-9]"}}},
  };
  return rows;
}

Json split_json(const std::string& pattern) {
  return {{"type", "Split"},
          {"pattern", {{"Regex", pattern}}},
          {"behavior", "Isolated"},
          {"invert", false}};
}

// A pattern of a tokenizer.json in the spelling of the rows above.
std::string our_spelling(std::string regex) {
  if (const auto at = regex.find(kContractionsAnyCase); at != std::string::npos) {
    regex.replace(at, kContractionsAnyCase.size(), kContractions);
  }
  std::string out;
  for (std::size_t at = 0; at < regex.size();) {
    const char32_t c = next_code_point(regex, at);
    if (c == '\r') {
      out += "\\r";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c < 0x80) {
      out += static_cast<char>(c);
    } else {
      out += fmt::format("\\x{{{:X}}}", static_cast<std::uint32_t>(c));
    }
  }
  return out == kDeepseekCjkAndSpaces ? kDeepseekCjk : out;
}

// The regular expressions that a pre-tokenizer comes to; false if it does something else as well.
bool collect_patterns(const Json& step, std::vector<std::string>& patterns, bool& has_bytes,
                      int depth = 0) {
  if (!step.is_object() || !step.contains("type") || !step["type"].is_string() || depth > 4) {
    return false;
  }
  const auto is = [&](const char* key, const Json& value, const Json& absent) {
    const auto found = step.find(key);
    return (found == step.end() || found->is_null() ? absent : *found) == value;
  };
  const auto type = step["type"].get<std::string>();
  if (has_bytes) return false;  // the next one would see GPT-2's spelling of bytes
  if (type == "Sequence") {
    const auto steps = step.find("pretokenizers");
    return steps != step.end() && steps->is_array() &&
           std::all_of(steps->begin(), steps->end(), [&](const Json& inner) {
             return collect_patterns(inner, patterns, has_bytes, depth + 1);
           });
  }
  if (type == "Digits") {
    patterns.push_back(kDigitPattern);
    return is("individual_digits", true, false);
  }
  if (type == "Split") {
    const auto pattern = step.find("pattern");
    if (pattern == step.end() || !pattern->is_object() || !pattern->contains("Regex") ||
        !(*pattern)["Regex"].is_string()) {
      return false;
    }
    patterns.push_back(our_spelling((*pattern)["Regex"].get<std::string>()));
    return is("behavior", "Isolated", "") && is("invert", false, false);
  }
  if (type == "ByteLevel") {
    has_bytes = true;
    if (is("use_regex", true, true)) patterns.push_back(kGgufGpt2Pattern);
    return is("add_prefix_space", false, true);
  }
  return false;
}

}  // namespace

const GgufPreTokenizer& find_gguf_pre_tokenizer(const std::string& name, const std::string& where) {
  std::vector<std::string> known;
  for (const auto& row : pre_tokenizer_rows()) {
    if (std::find(row.names.begin(), row.names.end(), name) != row.names.end()) return row.pre;
    known.insert(known.end(), row.names.begin(), row.names.end());
  }
  std::sort(known.begin(), known.end());
  throw IoError(fmt::format("{}: tokenizer.ggml.pre '{}' is not supported; known: {}", where, name,
                            fmt::join(known, ", ")));
}

bool is_known_pattern(const std::string& regex) {
  const std::string spelling = our_spelling(regex);
  const auto& rows = pre_tokenizer_rows();
  return std::any_of(rows.begin(), rows.end(), [&](const PreTokenizerRow& row) {
    const auto& patterns = row.pre.patterns;
    return std::find(patterns.begin(), patterns.end(), spelling) != patterns.end();
  });
}

Json pre_tokenizer_json(const GgufPreTokenizer& pre) {
  Json steps = Json::array();
  for (const auto& pattern : pre.patterns) {
    if (pattern == kDigitPattern) {
      steps.push_back({{"type", "Digits"}, {"individual_digits", true}});
    } else if (pattern != kGgufGpt2Pattern || &pattern != &pre.patterns.back()) {
      steps.push_back(split_json(pattern));
    }
  }
  steps.push_back({{"type", "ByteLevel"},
                   {"add_prefix_space", false},
                   {"trim_offsets", true},
                   {"use_regex", pre.patterns.back() == kGgufGpt2Pattern}});
  if (steps.size() == 1) return steps[0];
  return {{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
}

std::optional<std::string> recognise_pre_tokenizer(const Json& spec, bool ignore_merges) {
  std::vector<std::string> patterns;
  bool has_bytes = false;
  if (!collect_patterns(spec, patterns, has_bytes) || !has_bytes) return std::nullopt;
  for (const auto& row : pre_tokenizer_rows()) {
    if (row.pre.patterns == patterns && row.pre.ignore_merges == ignore_merges) {
      return row.names.front();
    }
  }
  return std::nullopt;
}

}  // namespace lowbank::tokenizers
