#include "tokenizers/gguf_vocabulary.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/log.h"
#include "core/text.h"
#include "io/families/gguf_mapping.h"
#include "io/gguf.h"
#include "tokenizers/unicode.h"

namespace lowbank::tokenizers {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kPreKey = "tokenizer.ggml.pre";

constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581 stands for a space in tokens

// Longer words of a bert vocabulary would make each step of the search for the longest one long.
constexpr std::size_t kMaxWordPieceBytes = 1024;

// Texts that make a token a control token whatever the file says: ends of a turn, and the marks of
// code with a gap in it.
constexpr std::array<std::string_view, 47> kControlTexts = {
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<\xEF\xBD\x9C"
    "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C>",
    "<|fim_prefix|>",
    "<fim-prefix>",
    "<fim_prefix>",
    "<PRE>",
    "\xE2\x96\x81<PRE>",
    "<|code_prefix|>",
    "<\xEF\xBD\x9C"
    "fim\xE2\x96\x81"
    "begin\xEF\xBD\x9C>",
    "<|fim_suffix|>",
    "<fim-suffix>",
    "<fim_suffix>",
    "<SUF>",
    "\xE2\x96\x81<SUF>",
    "<|code_suffix|>",
    "<\xEF\xBD\x9C"
    "fim\xE2\x96\x81hole\xEF\xBD\x9C>",
    "<|fim_middle|>",
    "<fim-middle>",
    "<fim_middle>",
    "<MID>",
    "\xE2\x96\x81<MID>",
    "<|code_middle|>",
    "<\xEF\xBD\x9C"
    "fim\xE2\x96\x81"
    "end\xEF\xBD\x9C>",
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<reponame>",
    "<|file_sep|>"};

// Source: ggml-org/llama.cpp src/llama-arch.cpp, gguf-py/gguf/constants.py.
constexpr GgufKeyRule kTokenizerKeys[] = {
    {"model"},
    {"pre"},
    {"tokens"},
    {"token_type"},
    {"scores"},
    {"merges"},
    {"bos_token_id"},
    {"eos_token_id"},
    {"eot_token_id"},
    {"unknown_token_id"},
    {"seperator_token_id"},
    {"padding_token_id"},
    {"cls_token_id"},
    {"mask_token_id"},
    {"add_bos_token"},
    {"add_eos_token"},
    {"add_space_prefix"},
    {"remove_extra_whitespaces"},
    {"precompiled_charsmap"},
    {"normalizer.lowercase"},
    {"normalizer.strip_accents"},
    {"token_type_count", "the rows of token_types.weight say it"},
    {"add_sep_token", "the template of a pair has the separator"},
    {"eom_token_id", "of tool calls, which are not made"},
    {"prefix_token_id", "of filling a gap, which is not done"},
    {"suffix_token_id", "of filling a gap, which is not done"},
    {"middle_token_id", "of filling a gap, which is not done"},
    {"fim_pre_token_id", "of filling a gap, which is not done"},
    {"fim_suf_token_id", "of filling a gap, which is not done"},
    {"fim_mid_token_id", "of filling a gap, which is not done"},
    {"fim_pad_token_id", "of filling a gap, which is not done"},
    {"fim_rep_token_id", "of filling a gap, which is not done"},
    {"fim_sep_token_id", "of filling a gap, which is not done"}};

std::optional<std::int64_t> token_id(const GgufFile& file, const char* name, std::int64_t absent,
                                     std::size_t num_tokens) {
  const std::string key = fmt::format("tokenizer.ggml.{}_token_id", name);
  const std::int64_t id = file.integer(key, absent);
  const bool is_inside = id >= 0 && id < static_cast<std::int64_t>(num_tokens);
  if (!is_inside && file.has(key)) {
    throw IoError(
        fmt::format("{}: {} must be in [0, {}); got {}", file.path(), key, num_tokens, id));
  }
  return is_inside ? std::optional<std::int64_t>(id) : std::nullopt;
}

void read_tokens(const GgufFile& file, GgufVocabulary& out) {
  out.tokens = file.texts("tokenizer.ggml.tokens");
  std::unordered_set<std::string_view> seen;
  seen.reserve(out.tokens.size());
  for (std::size_t i = 0; i < out.tokens.size(); ++i) {
    auto& token = out.tokens[i];
    if (token.empty()) token = fmt::format("[EMPTY_{}]", i);
    const auto fail = [&](const std::string& what) {
      throw IoError(fmt::format("{}: tokenizer.ggml.tokens[{}] {}", file.path(), i, what));
    };
    if (find_invalid_utf8(token) != std::string::npos) fail("is not UTF-8");
    if (out.model == GgufVocabulary::Model::kBert && token.size() > kMaxWordPieceBytes) {
      fail(fmt::format("has {} bytes; at most {}", token.size(), kMaxWordPieceBytes));
    }
    if (!seen.insert(token).second) fail(fmt::format("'{}' is there twice", token));
  }
  if (out.tokens.empty()) throw IoError(file.path() + ": tokenizer.ggml.tokens is empty");

  out.kinds.assign(out.tokens.size(), TokenKind::kNormal);
  const auto check_size = [&](const char* key, std::size_t size) {
    if (size < out.tokens.size()) {
      throw IoError(fmt::format("{}: {} has {} entries for {} tokens", file.path(), key, size,
                                out.tokens.size()));
    }
  };
  if (constexpr auto* key = "tokenizer.ggml.token_type"; file.has(key)) {
    const auto kinds = file.integers(key);
    check_size(key, kinds.size());
    for (std::size_t i = 0; i < out.tokens.size(); ++i) {
      const bool is_known = kinds[i] >= 1 && kinds[i] <= 6;
      out.kinds[i] = is_known ? static_cast<TokenKind>(kinds[i]) : TokenKind::kUndefined;
    }
  }
  if (out.model == GgufVocabulary::Model::kLlama) {
    constexpr auto* key = "tokenizer.ggml.scores";
    out.scores = file.numbers(key);
    check_size(key, out.scores.size());
    out.scores.resize(out.tokens.size());
  }
}

void mark_control_tokens(GgufVocabulary& out) {
  const std::unordered_set<std::string_view> texts(kControlTexts.begin(), kControlTexts.end());
  for (std::size_t i = 0; i < out.tokens.size(); ++i) {
    if (texts.count(out.tokens[i]) != 0) out.kinds[i] = TokenKind::kControl;
  }
}

}  // namespace

GgufVocabulary read_gguf_vocabulary(const GgufFile& file) {
  warn_of_unknown_keys(file, "tokenizer.ggml.", kTokenizerKeys);
  GgufVocabulary out;
  const std::string model = file.text("tokenizer.ggml.model");
  if (model == "gpt2") {
    out.model = GgufVocabulary::Model::kGpt2;
    std::string pre = file.text(kPreKey, "");
    if (pre.empty()) {
      warn(
          "{}: has no key {}, as files of before May 2024: words are cut by the patterns of "
          "'default', and ids may be others than the model was trained on; make the file again "
          "from the original model",
          file.path(), kPreKey);
      pre = "default";
    }
    out.pre = &find_gguf_pre_tokenizer(pre, file.path());
    out.add_bos = out.pre->add_bos;
    out.merges = file.texts("tokenizer.ggml.merges");
  } else if (model == "llama") {
    out.model = GgufVocabulary::Model::kLlama;
    out.add_bos = true;
    out.add_space_prefix = true;
  } else if (model == "bert") {
    out.model = GgufVocabulary::Model::kBert;
  } else {
    throw IoError(
        fmt::format("{}: tokenizer.ggml.model '{}' is not supported; supported: gpt2, llama, bert",
                    file.path(), model));
  }
  read_tokens(file, out);

  const std::size_t size = out.tokens.size();
  const bool is_llama = out.model == GgufVocabulary::Model::kLlama;
  const bool is_bert = out.model == GgufVocabulary::Model::kBert;
  const auto default_id = [&](std::int64_t llama, std::int64_t bert) {
    return is_llama ? llama : is_bert ? bert : -1;
  };
  out.bos = token_id(file, "bos", default_id(1, -1), size);
  if (is_bert && !out.bos) out.bos = token_id(file, "cls", 101, size);
  out.eos = token_id(file, "eos", default_id(2, -1), size);
  out.unk = token_id(file, "unknown", default_id(0, 100), size);
  out.sep = token_id(file, "seperator", default_id(-1, 102), size);  // the key is spelled so
  out.pad = token_id(file, "padding", default_id(-1, 0), size);
  out.mask = token_id(file, "mask", default_id(-1, 103), size);
  mark_control_tokens(out);

  out.add_bos = file.flag("tokenizer.ggml.add_bos_token", out.add_bos) && out.bos.has_value();
  out.add_eos = file.flag("tokenizer.ggml.add_eos_token", out.add_eos) && out.eos.has_value();
  if (is_llama) {
    out.add_space_prefix = file.flag("tokenizer.ggml.add_space_prefix", out.add_space_prefix);
    out.remove_extra_whitespaces = file.flag("tokenizer.ggml.remove_extra_whitespaces", false);
    if (constexpr auto* key = "tokenizer.ggml.precompiled_charsmap"; file.has(key)) {
      for (const auto byte : file.integers(key)) {
        out.precompiled_charsmap += static_cast<char>(byte);
      }
    }
  }
  if (is_bert) {
    if (!out.unk) throw IoError(file.path() + ": tokenizer.ggml.unknown_token_id is missing");
    out.is_lower_case = file.flag("tokenizer.ggml.normalizer.lowercase", true);
    out.strip_accents = file.flag("tokenizer.ggml.normalizer.strip_accents", out.is_lower_case);
  }
  return out;
}

Json vocab_json(const std::vector<std::string>& tokens) {
  Json::object_t vocab;
  vocab.reserve(tokens.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    vocab.Json::object_t::Container::emplace_back(tokens[i], i);
  }
  return vocab;
}

Json byte_bpe_json(const GgufVocabulary& vocabulary) {
  Json merges = Json::array();
  std::unordered_set<std::string_view> seen;  // of two equal merges the first counts
  seen.reserve(vocabulary.merges.size());
  for (const auto& merge : vocabulary.merges) {
    const auto space = merge.find(' ', 1);
    if (space == std::string::npos || !seen.insert(merge).second) continue;
    merges.push_back(Json::array({merge.substr(0, space), merge.substr(space + 1)}));
  }
  Json spec = {{"version", "1.0"},
               {"truncation", nullptr},
               {"padding", nullptr},
               {"added_tokens", Json::array()},
               {"normalizer", nullptr},
               {"pre_tokenizer", pre_tokenizer_json(*vocabulary.pre)},
               {"post_processor", nullptr},
               {"decoder",
                {{"type", "ByteLevel"},
                 {"add_prefix_space", true},
                 {"trim_offsets", true},
                 {"use_regex", true}}},
               {"model",
                {{"type", "BPE"},
                 {"dropout", nullptr},
                 {"unk_token", nullptr},
                 {"continuing_subword_prefix", nullptr},
                 {"end_of_word_suffix", nullptr},
                 {"fuse_unk", false},
                 {"byte_fallback", false},
                 {"ignore_merges", vocabulary.pre->ignore_merges}}}};
  spec["model"]["vocab"] = vocab_json(vocabulary.tokens);  // moved: an initialiser would copy it
  spec["model"]["merges"] = std::move(merges);
  return spec;
}

namespace {

// Longer tokens would make the search for their merges long: it tries each of their splits.
constexpr std::size_t kMaxScoredPieceBytes = 4096;

// One character again and again.
bool is_run(std::string_view text, std::size_t character_size) {
  return text.substr(character_size) == text.substr(0, text.size() - character_size);
}

std::vector<std::size_t> character_starts(std::string_view text) {
  std::vector<std::size_t> starts;
  for (std::size_t at = 0; at < text.size(); ++at) {
    if (!is_utf8_continuation(text[at])) starts.push_back(at);
  }
  return starts;
}

}  // namespace

Json score_bpe_json(const GgufVocabulary& vocabulary, const std::string& where) {
  const auto& tokens = vocabulary.tokens;
  const auto nan = std::find_if(vocabulary.scores.begin(), vocabulary.scores.end(),
                                [](float score) { return std::isnan(score); });
  if (nan != vocabulary.scores.end()) {
    throw ConfigError(fmt::format("{}: tokenizer.ggml.scores[{}] is not a number", where,
                                  nan - vocabulary.scores.begin()));
  }
  std::unordered_map<std::string_view, std::size_t> ids;
  ids.reserve(tokens.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) ids.emplace(tokens[i], i);
  std::vector<std::size_t> order(tokens.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return vocabulary.scores[a] > vocabulary.scores[b];
  });
  Json merges = Json::array();
  std::optional<std::size_t> same_score, unreachable;
  float group_score = 0;
  std::unordered_map<std::size_t, std::size_t> left_of;  // left part -> first token of this score
  for (const std::size_t id : order) {
    const std::string_view token = tokens[id];
    if (token.size() > kMaxScoredPieceBytes) {
      throw ConfigError(fmt::format(
          "{}: tokenizer.ggml.tokens[{}] has {} bytes; at most {} go into a tokenizer.json", where,
          id, token.size(), kMaxScoredPieceBytes));
    }
    if (vocabulary.scores[id] != group_score) {
      group_score = vocabulary.scores[id];
      left_of.clear();
    }
    const auto starts = character_starts(token);
    std::vector<std::pair<std::size_t, std::size_t>> pairs;
    for (std::size_t i = 1; i < starts.size(); ++i) {
      const auto left = ids.find(token.substr(0, starts[i]));
      const auto right = ids.find(token.substr(starts[i]));
      if (left != ids.end() && right != ids.end()) pairs.emplace_back(left->second, right->second);
    }
    std::sort(pairs.begin(), pairs.end());
    const bool is_normal = vocabulary.kinds[id] == TokenKind::kNormal;
    for (const auto& [left, right] : pairs) {
      merges.push_back(Json::array({tokens[left], tokens[right]}));
      const auto found = left_of.find(right);  // further right in the text, but first in the list
      if (is_normal && found != left_of.end()) same_score = id;
    }
    if (!is_normal || starts.size() < 2) continue;
    // Runs of spaces have one score in Llama 2's vocabulary; as every length up to the longest is a
    // token, each order of merges comes to the same.
    if (!is_run(token, starts[1])) {
      for (const auto& [left, right] : pairs) left_of.emplace(left, id);
    }
    for (std::size_t i = 0; i < starts.size(); ++i) {
      const std::size_t end = i + 1 < starts.size() ? starts[i + 1] : token.size();
      if (!ids.contains(token.substr(starts[i], end - starts[i]))) unreachable = id;
    }
  }
  if (same_score) {
    warn(
        "{}: token '{}' and another one have the same score: of two that overlap, llama.cpp takes "
        "the one further left, and a tokenizer.json the one that comes first in its list: some "
        "texts may get other ids from the folder",
        where, tokens[*same_score]);
  }
  if (unreachable) {
    warn(
        "{}: token '{}' has characters that are no tokens by themselves: a tokenizer.json cannot "
        "join them, and some texts may get other ids from the folder",
        where, tokens[*unreachable]);
  }
  bool has_all_bytes = true;
  for (unsigned byte = 0; byte < 256; ++byte) {
    has_all_bytes = has_all_bytes && ids.contains(fmt::format("<0x{:02X}>", byte));
  }
  if (!has_all_bytes) {
    warn(
        "{}: the vocabulary lacks byte tokens: a character without a token is one unknown token in "
        "a tokenizer.json, and one for each of its bytes in llama.cpp",
        where);
  }
  Json model = {
      {"type", "BPE"},
      {"dropout", nullptr},
      {"unk_token",
       vocabulary.unk ? Json(tokens[static_cast<std::size_t>(*vocabulary.unk)]) : Json(nullptr)},
      {"continuing_subword_prefix", nullptr},
      {"end_of_word_suffix", nullptr},
      {"fuse_unk", false},
      {"byte_fallback", has_all_bytes},
      {"ignore_merges", false}};
  model["vocab"] = vocab_json(tokens);  // moved: an initialiser would copy it
  model["merges"] = std::move(merges);
  return model;
}

namespace {

// Tokens that are found in texts are stored as they are. llama.cpp's converter puts the mark of a
// word in front of user-defined ones as well, which no text has: they are plain pieces.
bool is_stored_plain(TokenKind kind) {
  return kind == TokenKind::kControl || kind == TokenKind::kUnknown ||
         kind == TokenKind::kUserDefined;
}

}  // namespace

std::string word_piece_of(const std::string& token, TokenKind kind) {
  if (kind == TokenKind::kControl || kind == TokenKind::kUnknown) return token;
  if (token.starts_with(kSpaceMark)) return token.substr(kSpaceMark.size());
  if (kind == TokenKind::kUserDefined) return token;
  // Older files left everything in brackets as it was.
  const bool is_in_brackets = token.size() > 2 && token.front() == '[' && token.back() == ']';
  return is_in_brackets ? token : "##" + token;
}

std::string gguf_token_of_word_piece(const std::string& piece, TokenKind kind) {
  if (is_stored_plain(kind)) return piece;
  if (piece.starts_with("##")) return piece.substr(2);
  return std::string(kSpaceMark) + piece;
}

}  // namespace lowbank::tokenizers
