#include "tokenizers/word_model.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/text.h"
#include "tokenizers/bpe_model.h"

namespace lowbank::tokenizers {
namespace {

std::int32_t find_unknown(const Vocabulary& vocabulary, const std::string& token,
                          const std::string& name) {
  const std::int32_t id = vocabulary.find(token);
  if (id < 0) {
    throw IoError(
        fmt::format("{}: unk_token '{}' is needed but not in the vocabulary", name, token));
  }
  return id;
}

/// Longest tokens first, from the left; a word that cannot be spelled is unknown as a whole.
class WordPieceModel : public WordModel {
 public:
  explicit WordPieceModel(const JsonReader& spec)
      : vocabulary_(spec.at("vocab")),
        unk_token_(spec.text("unk_token", "[UNK]")),
        prefix_(spec.text("continuing_subword_prefix", "##")),
        max_characters_(spec.integer("max_input_chars_per_word", 100, 0, kMaxId)),
        name_(spec.where()) {
    for (const auto& text : vocabulary_.texts()) max_size_ = std::max(max_size_, text.size());
  }

  void tokenize(std::string_view word, std::vector<WordToken>& out) const override {
    const std::size_t first = out.size();
    if (count_code_points(word) > max_characters_ || !add_pieces(word, out)) {
      out.resize(first);
      out.push_back(
          {find_unknown(vocabulary_, unk_token_, name_), static_cast<std::uint32_t>(word.size())});
    }
  }
  std::int32_t find(std::string_view token) const override { return vocabulary_.find(token); }
  const std::vector<std::string>& texts() const override { return vocabulary_.texts(); }
  std::size_t num_tokens() const override { return vocabulary_.ids().size(); }

 private:
  bool add_pieces(std::string_view word, std::vector<WordToken>& out) const {
    std::string piece;
    for (std::size_t begin = 0; begin < word.size();) {
      piece.assign(begin > 0 ? prefix_ : "");
      const std::size_t prefix_size = piece.size();
      piece.append(word, begin, std::min(word.size() - begin, max_size_));
      std::int32_t id = -1;
      while (piece.size() > prefix_size && (id = vocabulary_.find(piece)) < 0) piece.pop_back();
      if (id < 0) return false;
      const std::size_t size = piece.size() - prefix_size;
      out.push_back({id, static_cast<std::uint32_t>(size)});
      begin += size;
    }
    return true;
  }

  Vocabulary vocabulary_;
  std::string unk_token_;
  std::string prefix_;
  std::int64_t max_characters_;
  std::string name_;
  std::size_t max_size_ = 0;
};

/// A token for every word.
class WordLevelModel : public WordModel {
 public:
  explicit WordLevelModel(const JsonReader& spec)
      : vocabulary_(spec.at("vocab")),
        unk_token_(spec.text("unk_token", "<unk>")),
        name_(spec.where()) {}

  void tokenize(std::string_view word, std::vector<WordToken>& out) const override {
    std::int32_t id = vocabulary_.find(word);
    if (id < 0) id = find_unknown(vocabulary_, unk_token_, name_);
    out.push_back({id, static_cast<std::uint32_t>(word.size())});
  }
  std::int32_t find(std::string_view token) const override { return vocabulary_.find(token); }
  const std::vector<std::string>& texts() const override { return vocabulary_.texts(); }
  std::size_t num_tokens() const override { return vocabulary_.ids().size(); }

 private:
  Vocabulary vocabulary_;
  std::string unk_token_;
  std::string name_;
};

// ["left", "right"], or "left right" in older files.
std::vector<BpeMerge> read_merges(const JsonReader& spec, const Vocabulary& vocabulary,
                                  const std::string& prefix) {
  std::vector<BpeMerge> merges;
  merges.reserve(spec.size());
  std::string merged;
  for (std::size_t i = 0; i < spec.size(); ++i) {
    const auto& entry = spec.value()[i];
    std::string_view left;
    std::string_view right;
    if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string()) {
      left = entry[0].get_ref<const std::string&>();
      right = entry[1].get_ref<const std::string&>();
    } else if (entry.is_string()) {
      const std::string_view both = entry.get_ref<const std::string&>();
      if (both.starts_with("#version")) continue;
      const auto space = both.find(' ');
      if (space == std::string_view::npos || both.find(' ', space + 1) != std::string_view::npos) {
        spec.at(i).fail(fmt::format("wants two tokens with one space between, got '{}'", both));
      }
      left = both.substr(0, space);
      right = both.substr(space + 1);
    } else {
      spec.at(i).fail("wants two strings, or one string of two tokens");
    }
    merged = left;
    merged += right.substr(std::min(prefix.size(), right.size()));
    const auto id_of = [&](std::string_view token) {
      const std::int32_t id = vocabulary.find(token);
      if (id < 0) spec.at(i).fail(fmt::format("token '{}' is not in the vocabulary", token));
      return id;
    };
    merges.push_back(
        {id_of(left), id_of(right), static_cast<std::int32_t>(merges.size()), id_of(merged)});
  }
  return merges;
}

std::unique_ptr<WordModel> make_bpe_model(const JsonReader& spec) {
  spec.check_keys({"type", "dropout", "unk_token", "continuing_subword_prefix",
                   "end_of_word_suffix", "fuse_unk", "byte_fallback", "ignore_merges", "vocab",
                   "merges"});
  if (spec.has("dropout") && spec.at("dropout").value() != 0) {
    spec.at("dropout").fail("must be null or 0: ids would differ from call to call");
  }
  BpeOptions options;
  options.unk_token = spec.text("unk_token", "");
  options.continuing_subword_prefix = spec.text("continuing_subword_prefix", "");
  options.end_of_word_suffix = spec.text("end_of_word_suffix", "");
  options.fuse_unk = spec.flag("fuse_unk", false);
  options.byte_fallback = spec.flag("byte_fallback", false);
  options.ignore_merges = spec.flag("ignore_merges", false);
  auto vocabulary = std::make_unique<Vocabulary>(spec.at("vocab"));
  const auto merges =
      read_merges(spec.at("merges"), *vocabulary, options.continuing_subword_prefix);
  return std::make_unique<BpeModel>(std::move(vocabulary), merges, std::move(options),
                                    spec.where());
}

// Very old files do not say what their model is.
std::string type_of(const JsonReader& spec) {
  if (spec.has("type")) return spec.text("type");
  if (spec.has("merges")) return "BPE";
  return spec.has("continuing_subword_prefix") ? "WordPiece" : "WordLevel";
}

}  // namespace

std::unique_ptr<WordModel> make_word_model(const JsonReader& spec) {
  const std::string type = type_of(spec);
  if (type == "BPE") return make_bpe_model(spec);
  if (type == "WordPiece") {
    spec.check_keys(
        {"type", "unk_token", "continuing_subword_prefix", "max_input_chars_per_word", "vocab"});
    return std::make_unique<WordPieceModel>(spec);
  }
  if (type == "WordLevel") {
    spec.check_keys({"type", "unk_token", "vocab"});
    return std::make_unique<WordLevelModel>(spec);
  }
  spec.fail(fmt::format(
      "model '{}' is not supported; known: BPE, WordPiece, WordLevel{}", type,
      type == "Unigram" ? " (a sentencepiece tokenizer.model of the same tokenizer works)" : ""));
}

}  // namespace lowbank::tokenizers
