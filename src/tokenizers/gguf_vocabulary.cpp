#include "tokenizers/gguf_vocabulary.h"

#include <array>
#include <unordered_set>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/log.h"
#include "core/text.h"
#include "io/gguf.h"

namespace lowbank::tokenizers {
namespace {

using Json = nlohmann::ordered_json;

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
  GgufVocabulary out;
  const std::string model = file.text("tokenizer.ggml.model");
  if (model == "gpt2") {
    out.model = GgufVocabulary::Model::kGpt2;
    constexpr auto* kPre = "tokenizer.ggml.pre";
    if (!file.has(kPre)) {
      warn(
          "{}: has no key {}, as files of before May 2024: words are cut by the patterns of "
          "'default', and ids may be others than the model was trained on; make the file again "
          "from the original model",
          file.path(), kPre);
    }
    out.pre = &find_gguf_pre_tokenizer(file.text(kPre, "default"), file.path());
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

std::string word_piece_of(const std::string& token, TokenKind kind) {
  if (kind == TokenKind::kControl) return token;
  if (token.starts_with(kSpaceMark)) return token.substr(kSpaceMark.size());
  // Older files left everything in brackets as it was.
  const bool is_in_brackets = token.size() > 2 && token.front() == '[' && token.back() == ']';
  return is_in_brackets ? token : "##" + token;
}

std::string gguf_token_of_word_piece(const std::string& piece, TokenKind kind) {
  if (kind == TokenKind::kControl) return piece;
  if (piece.starts_with("##")) return piece.substr(2);
  return std::string(kSpaceMark) + piece;
}

}  // namespace lowbank::tokenizers
