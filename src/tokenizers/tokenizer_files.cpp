#include "tokenizers/tokenizer_files.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "core/json_reader.h"
#include "core/log.h"
#include "core/text.h"
#include "io/gguf.h"
#include "tokenizers/gguf_vocabulary.h"
#include "tokenizers/sentencepiece_model.h"
#include "tokenizers/vocab_files.h"

namespace lowbank::tokenizers {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::int64_t kMaxGgufVocabulary = std::int64_t{1} << 24;

bool is_special_kind(TokenKind kind) {
  return kind == TokenKind::kControl || kind == TokenKind::kUnknown;
}

// ------------------------------------------------------------------ GGUF to files

// Whether a text that spells the token is cut there.
bool is_found_in_texts(const GgufVocabulary& vocabulary, std::size_t id) {
  return vocabulary.is_special(id) || vocabulary.kinds[id] == TokenKind::kUserDefined;
}

void add_token_name(Json& config, const char* key, const GgufFile& file,
                    const GgufVocabulary& vocabulary, std::optional<std::int64_t> id) {
  if (!id) return;
  const auto at = static_cast<std::size_t>(*id);
  config[key] = vocabulary.tokens[at];
  if (!is_found_in_texts(vocabulary, at)) {
    warn(
        "{}: token '{}' is the {}, but no control token: a text that spells it gets other ids from "
        "the folder, where such tokens are always found",
        file.path(), vocabulary.tokens[at], key);
  }
}

Json common_config(const GgufFile& file, const GgufVocabulary& vocabulary, const char* class_name) {
  Json config = {{"add_bos_token", vocabulary.add_bos},
                 {"add_eos_token", vocabulary.add_eos},
                 {"clean_up_tokenization_spaces", false}};
  add_token_name(config, "bos_token", file, vocabulary, vocabulary.bos);
  add_token_name(config, "eos_token", file, vocabulary, vocabulary.eos);
  add_token_name(config, "unk_token", file, vocabulary, vocabulary.unk);
  add_token_name(config, "pad_token", file, vocabulary, vocabulary.pad);
  const std::string length_key = file.text("general.architecture", "") + ".context_length";
  if (file.has(length_key)) config["model_max_length"] = file.integer(length_key);
  if (constexpr auto* key = "tokenizer.chat_template"; file.has(key)) {
    const std::string chat = file.text(key);
    if (find_invalid_utf8(chat) != std::string::npos) {
      throw IoError(fmt::format("{}: key '{}' is not UTF-8", file.path(), key));
    }
    config["chat_template"] = chat;
  }
  config["tokenizer_class"] = class_name;
  return config;
}

Json added_token(std::int64_t id, const std::string& text, bool is_special) {
  return {{"id", id},        {"content", text},     {"single_word", false}, {"lstrip", false},
          {"rstrip", false}, {"normalized", false}, {"special", is_special}};
}

/// The tokens around a text, where there are any.
struct Frame {
  std::optional<std::int64_t> first, last;
  bool second_has_first = true;  ///< `first` stands before the second text of a pair, too
};

Json template_json(const GgufVocabulary& vocabulary, const Frame& frame) {
  Json single = Json::array();
  Json pair = Json::array();
  Json tokens = Json::object();
  const auto add = [&](std::optional<std::int64_t> id, int type_id, bool in_single) {
    if (!id) return;
    const std::string& text = vocabulary.tokens[static_cast<std::size_t>(*id)];
    const Json item = {{"SpecialToken", {{"id", text}, {"type_id", type_id}}}};
    if (in_single) single.push_back(item);
    pair.push_back(item);
    tokens[text] = {{"id", text}, {"ids", {*id}}, {"tokens", {text}}};
  };
  const auto add_text = [](Json& list, const char* name, int type_id) {
    list.push_back({{"Sequence", {{"id", name}, {"type_id", type_id}}}});
  };
  add(frame.first, 0, true);
  add_text(single, "A", 0);
  add_text(pair, "A", 0);
  add(frame.last, 0, true);
  if (frame.second_has_first) add(frame.first, 1, false);
  add_text(pair, "B", 1);
  add(frame.last, 1, false);
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", pair},
          {"special_tokens", tokens}};
}

Json added_tokens_json(const GgufVocabulary& vocabulary) {
  Json tokens = Json::array();
  for (std::size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    if (!is_found_in_texts(vocabulary, i)) continue;
    tokens.push_back(added_token(static_cast<std::int64_t>(i), vocabulary.tokens[i],
                                 is_special_kind(vocabulary.kinds[i])));
  }
  return tokens;
}

TokenizerFiles byte_bpe_files(const GgufFile& file, const GgufVocabulary& vocabulary) {
  Json spec = byte_bpe_json(vocabulary);
  spec["added_tokens"] = added_tokens_json(vocabulary);
  if (vocabulary.add_bos || vocabulary.add_eos) {
    spec["post_processor"] =
        template_json(vocabulary, {.first = vocabulary.add_bos ? vocabulary.bos : std::nullopt,
                                   .last = vocabulary.add_eos ? vocabulary.eos : std::nullopt});
  }
  // The class without rules of its own: others would put their own pre-tokenizer in.
  const Json config = common_config(file, vocabulary, "PreTrainedTokenizerFast");
  return {{"tokenizer.json", spec.dump()}, {"tokenizer_config.json", dump_json(config)}};
}

// tokenizer.json for a vocabulary of pieces with scores.
Json score_bpe_spec(const GgufFile& file, const GgufVocabulary& vocabulary, Json config) {
  config["add_prefix_space"] = vocabulary.add_space_prefix;
  const TokenizerSettings settings({{"tokenizer_config.json", config.dump()}}, file.path());
  const auto& tokens = vocabulary.tokens;
  std::unordered_map<std::string_view, std::int64_t> ids;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    ids.emplace(tokens[i], static_cast<std::int64_t>(i));
  }
  AddedTokenList list(
      [&](std::string_view token) {
        const auto found = ids.find(token);
        return found == ids.end() ? -1 : found->second;
      },
      std::ssize(tokens));
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (is_found_in_texts(vocabulary, i)) {
      list.add({.content = tokens[i], .special = is_special_kind(vocabulary.kinds[i])});
    }
  }
  Json spec = {{"version", "1.0"}, {"truncation", nullptr}, {"padding", nullptr}};
  spec.update(settings.llama_spec(list, /*removes_extra_spaces=*/false));
  for (const auto* part : {"normalizer", "pre_tokenizer"}) {
    if (!spec.contains(part)) spec[part] = nullptr;
  }
  spec["model"] = score_bpe_json(vocabulary, file.path());
  return spec;
}

TokenizerFiles sentencepiece_files(const GgufFile& file, const GgufVocabulary& vocabulary) {
  SentencepieceModel model;
  model.type = SentencepieceModel::Type::kBpe;
  const auto id_of = [](std::optional<std::int64_t> id) {
    return static_cast<std::int32_t>(id.value_or(-1));
  };
  model.bos_id = id_of(vocabulary.bos);
  model.eos_id = id_of(vocabulary.eos);
  model.pad_id = id_of(vocabulary.pad);
  model.unk_id = id_of(vocabulary.unk);
  if (model.unk_id < 0) throw IoError(file.path() + ": the vocabulary has no unknown token");
  for (std::size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    TokenKind kind = vocabulary.kinds[i];
    // sentencepiece knows exactly one unknown piece.
    if (static_cast<std::int32_t>(i) == model.unk_id) {
      kind = TokenKind::kUnknown;
    } else if (kind == TokenKind::kUnknown) {
      kind = TokenKind::kControl;
    } else if (kind == TokenKind::kUndefined) {
      kind = TokenKind::kNormal;
    }
    model.byte_fallback = model.byte_fallback || kind == TokenKind::kByte;
    model.pieces.push_back(
        {.text = vocabulary.tokens[i], .score = vocabulary.scores[i], .kind = kind});
  }
  model.normalizer_name = vocabulary.precompiled_charsmap.empty() ? "identity" : "nmt_nfkc";
  model.precompiled_charsmap = vocabulary.precompiled_charsmap;
  model.add_dummy_prefix = vocabulary.add_space_prefix;
  model.remove_extra_whitespaces = vocabulary.remove_extra_whitespaces;
  // The class without rules of its own takes the tokenizer.json as it is; a Llama class would put
  // its own rules for spaces in, and does not cut a text at every control token of the model.
  const Json config = common_config(file, vocabulary, "PreTrainedTokenizerFast");
  return {{"tokenizer.json", score_bpe_spec(file, vocabulary, config).dump()},
          {"tokenizer.model", write_sentencepiece_model(model)},
          {"tokenizer_config.json", dump_json(config)}};
}

Json word_piece_spec(const GgufFile& file, const GgufVocabulary& vocabulary,
                     const std::vector<std::string>& pieces) {
  std::unordered_map<std::string_view, std::size_t> ids;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    const auto [found, is_new] = ids.emplace(pieces[i], i);
    if (is_new) continue;
    throw ConfigError(fmt::format(
        "{}: tokens '{}' and '{}' are both '{}' in a vocab.txt, which can hold only one of them",
        file.path(), vocabulary.tokens[found->second], vocabulary.tokens[i], pieces[i]));
  }
  Json added = Json::array();
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    // Not those whose text is changed: no text has the mark of a word that stands before them.
    if (!is_found_in_texts(vocabulary, i) || pieces[i] != vocabulary.tokens[i]) continue;
    added.push_back(
        added_token(static_cast<std::int64_t>(i), pieces[i], is_special_kind(vocabulary.kinds[i])));
  }
  Json spec = {{"version", "1.0"},
               {"truncation", nullptr},
               {"padding", nullptr},
               {"added_tokens", std::move(added)},
               {"normalizer",
                {{"type", "BertNormalizer"},
                 {"clean_text", true},
                 {"handle_chinese_chars", true},
                 {"strip_accents", vocabulary.strip_accents},
                 {"lowercase", vocabulary.is_lower_case}}},
               {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
               {"post_processor", template_json(vocabulary, {.first = vocabulary.bos,
                                                             .last = vocabulary.sep,
                                                             .second_has_first = false})},
               {"decoder", {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", false}}},
               {"model",
                {{"type", "WordPiece"},
                 {"unk_token", vocabulary.tokens[static_cast<std::size_t>(*vocabulary.unk)]},
                 {"continuing_subword_prefix", "##"},
                 {"max_input_chars_per_word", 100}}}};
  spec["model"]["vocab"] = vocab_json(pieces);
  return spec;
}

TokenizerFiles word_piece_files(const GgufFile& file, const GgufVocabulary& vocabulary) {
  std::string lines;
  std::vector<std::string> pieces;
  for (std::size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    pieces.push_back(word_piece_of(vocabulary.tokens[i], vocabulary.kinds[i]));
    if (pieces.back().find_first_of("\r\n") != std::string::npos) {
      throw IoError(
          fmt::format("{}: tokenizer.ggml.tokens[{}] has a line end, which vocab.txt "
                      "cannot hold",
                      file.path(), i));
    }
    lines += pieces.back() + "\n";
  }
  Json config = common_config(file, vocabulary, "BertTokenizer");
  for (const auto* key : {"add_bos_token", "add_eos_token", "bos_token", "eos_token"}) {
    config.erase(key);
  }
  add_token_name(config, "cls_token", file, vocabulary, vocabulary.bos);
  add_token_name(config, "sep_token", file, vocabulary, vocabulary.sep);
  add_token_name(config, "mask_token", file, vocabulary, vocabulary.mask);
  config["do_lower_case"] = vocabulary.is_lower_case;
  config["strip_accents"] = vocabulary.strip_accents;
  config["tokenize_chinese_chars"] = true;
  return {{"tokenizer.json", word_piece_spec(file, vocabulary, pieces).dump()},
          {"vocab.txt", lines},
          {"tokenizer_config.json", dump_json(config)}};
}

// ------------------------------------------------------------------ files to GGUF

/// What all forms have in common: tokens by id, their kinds, and the ids with a part to play.
class KeyMaker {
 public:
  /// `settings` are those of the folder `source`, `config` is its config.json.
  KeyMaker(const TokenizerSettings& settings, const Json& config, const std::string& source)
      : settings_(settings), config_(config), source_(source) {}

  [[noreturn]] void refuse(const std::string& what) const {
    throw ConfigError(source_ + "/" + what);
  }

  void set(std::int64_t id, const std::string& text, TokenKind kind, float score = 0) {
    if (id < 0 || id >= kMaxGgufVocabulary) {
      throw IoError(fmt::format("{}: token id {} is out of range", source_, id));
    }
    const auto at = static_cast<std::size_t>(id);
    if (at >= tokens_.size()) {
      tokens_.resize(at + 1);
      kinds_.resize(at + 1, TokenKind::kUnused);
      scores_.resize(at + 1);
    }
    tokens_[at] = text;
    kinds_[at] = kind;
    scores_[at] = score;
  }
  /// Tokens that are found in texts: those of `spec` (the `added_tokens` of a tokenizer.json), and
  /// those of the settings.
  void set_added_tokens(std::vector<AddedToken> known, const char* absent_class) {
    std::unordered_map<std::string_view, std::int64_t> ids;
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      ids.emplace(tokens_[i], static_cast<std::int64_t>(i));
    }
    AddedTokenList list(
        [&](std::string_view token) {
          const auto found = ids.find(token);
          return found == ids.end() ? -1 : found->second;
        },
        static_cast<std::int64_t>(tokens_.size()));
    for (auto& token : known) list.add(std::move(token));
    settings_.add_tokens(list, absent_class);
    names_ = settings_.names(absent_class);
    ids.clear();  // set() moves the texts
    for (const auto& token : list.tokens()) {
      const auto at = static_cast<std::size_t>(token.id);
      const bool is_new = at >= tokens_.size();
      if (is_new && token.id >= model_size()) {
        warn("{}: token {} has id {}, but the model has {} rows: it is left out", source_,
             token.content, token.id, model_size());
        continue;
      }
      if (token.lstrip || token.rstrip || token.single_word) {
        warn("{}: GGUF has no place for {} of token {}: text with it may get other ids", source_,
             token.lstrip   ? "lstrip"
             : token.rstrip ? "rstrip"
                            : "single_word",
             token.content);
      }
      if (!is_new && kinds_[at] != TokenKind::kNormal && kinds_[at] != TokenKind::kUnused) continue;
      set(token.id, token.content, token.special ? TokenKind::kControl : TokenKind::kUserDefined,
          is_new ? kAddedScore : scores_[at]);
    }
  }
  const std::vector<std::string>& tokens() const { return tokens_; }
  std::vector<std::string>& tokens() { return tokens_; }
  const std::vector<TokenKind>& kinds() const { return kinds_; }

  /// A flag of tokenizer_config.json.
  bool flag(const char* key, bool absent) const { return settings_.flag(key).value_or(absent); }
  const TokenizerSettings& settings() const { return settings_; }
  /// The special tokens of the settings, once set_added_tokens() has been called.
  const SpecialNames& names() const { return names_; }
  /// Id of the token that the settings name; else what config.json says.
  std::optional<std::int64_t> id_of(const char* key, const std::string& name) const {
    if (!name.empty()) {
      const auto found = std::find(tokens_.begin(), tokens_.end(), name);
      if (found != tokens_.end()) return found - tokens_.begin();
    }
    const auto id = config_.find(std::string(key) + "_id");
    if (id == config_.end() || !id->is_number_integer()) return std::nullopt;
    const auto value = id->get<std::int64_t>();
    const bool is_inside = value >= 0 && value < static_cast<std::int64_t>(tokens_.size());
    return is_inside ? std::optional(value) : std::nullopt;
  }
  void add_id(GgufKeys& keys, const char* gguf_name, std::optional<std::int64_t> id) const {
    if (!id) return;
    keys.emplace_back(fmt::format("tokenizer.ggml.{}_token_id", gguf_name),
                      static_cast<std::uint32_t>(*id));
  }
  /// Model, tokens, kinds, ids and chat template; fills the vocabulary up to the model's.
  GgufKeys finish(const char* model, const std::string& pre) {
    if (has_model_size()) {
      for (auto i = static_cast<std::int64_t>(tokens_.size()); i < model_size(); ++i) {
        set(i, "", TokenKind::kUnused);
      }
    }
    for (std::size_t i = 0; i < tokens_.size(); ++i) {
      if (tokens_[i].empty()) tokens_[i] = fmt::format("[PAD{}]", i);
    }
    GgufKeys keys = {{"tokenizer.ggml.model", std::string(model)}, {"tokenizer.ggml.pre", pre}};
    std::vector<std::int32_t> kinds;
    for (const auto kind : kinds_) kinds.push_back(static_cast<std::int32_t>(kind));
    keys.emplace_back("tokenizer.ggml.tokens", tokens_);
    keys.emplace_back("tokenizer.ggml.token_type", kinds);
    if (std::string_view(model) == "llama") keys.emplace_back("tokenizer.ggml.scores", scores_);
    add_id(keys, "bos", id_of("bos_token", names_.bos));
    add_id(keys, "eos", id_of("eos_token", names_.eos));
    add_id(keys, "unknown", id_of("unk_token", names_.unk));
    add_id(keys, "padding", id_of("pad_token", names_.pad));
    add_id(keys, "mask", id_of("mask_token", names_.mask));
    const auto chat = settings_.config().find("chat_template");
    if (chat && chat->is_text()) keys.emplace_back("tokenizer.chat_template", chat->text());
    return keys;
  }

 private:
  bool has_model_size() const {
    const auto size = config_.find("vocab_size");
    return size != config_.end() && size->is_number_integer();
  }
  /// vocab_size of config.json, or the most that a file may have.
  std::int64_t model_size() const {
    if (!has_model_size()) return kMaxGgufVocabulary;
    return std::min(config_.at("vocab_size").get<std::int64_t>(), kMaxGgufVocabulary);
  }

  static constexpr float kAddedScore = -1000;  // as gguf's own writer has it

  const TokenizerSettings& settings_;
  const Json& config_;
  const std::string& source_;
  SpecialNames names_;
  std::vector<std::string> tokens_;
  std::vector<TokenKind> kinds_;
  std::vector<float> scores_;
};

const Json& member_or_null(const Json& object, const char* key) {
  static const Json none;
  if (!object.is_object()) return none;
  const auto found = object.find(key);
  return found == object.end() ? none : *found;
}

// The tokens that a tokenizer.json adds to its model's.
std::vector<AddedToken> added_tokens_of(const JsonReader& spec) {
  std::vector<AddedToken> tokens;
  for (const JsonReader& entry : spec.items("added_tokens")) {
    tokens.push_back(read_added_token(entry));
  }
  return tokens;
}

// An object of tokens and ids.
void set_vocabulary(KeyMaker& maker, const JsonReader& vocab) {
  for (const auto& [token, id] : vocab.members()) {
    maker.set(id.integer(0, kMaxGgufVocabulary - 1), token, TokenKind::kNormal);
  }
}

std::vector<std::string> merge_lines(const JsonReader& model) {
  std::vector<std::string> lines;
  for (const JsonReader& merge : model.items("merges")) {
    if (merge.is_text()) {
      lines.push_back(merge.text());
    } else if (merge.size() == 2) {
      lines.push_back(merge.at(0).text() + " " + merge.at(1).text());
    } else {
      merge.fail("must be a pair of tokens");
    }
  }
  return lines;
}

// Whether the post-processor puts this token before (or behind) a single text.
bool template_has(const Json& post, const std::string& token, bool in_front) {
  const Json& steps = member_or_null(post, "processors");
  if (steps.is_array()) {
    return std::any_of(steps.begin(), steps.end(),
                       [&](const Json& step) { return template_has(step, token, in_front); });
  }
  const Json& single = member_or_null(post, "single");
  if (!single.is_array() || single.empty() || token.empty()) return false;
  const Json& item = in_front ? single.front() : single.back();
  return member_or_null(member_or_null(item, "SpecialToken"), "id") == token;
}

GgufKeys byte_bpe_keys(KeyMaker& maker, const JsonReader& spec, const std::string& file) {
  const JsonReader model = spec.at("model");
  const Json& normalizer = member_or_null(spec.value(), "normalizer");
  if (!normalizer.is_null()) {
    if (member_or_null(normalizer, "type") != "NFC") {
      maker.refuse("tokenizer.json: GGUF has no place for its normalizer");
    }
    warn("{}: GGUF has no place for the normalizer NFC: text in other forms may get other ids",
         file);
  }
  const bool ignore_merges = member_or_null(model.value(), "ignore_merges") == true;
  const auto pre =
      recognise_pre_tokenizer(member_or_null(spec.value(), "pre_tokenizer"), ignore_merges);
  if (!pre) {
    maker.refuse(
        "tokenizer.json: pre_tokenizer: GGUF has no name for this one, and llama.cpp would cut "
        "texts otherwise");
  }
  set_vocabulary(maker, model.at("vocab"));
  maker.set_added_tokens(added_tokens_of(spec), "");
  const Json& post = member_or_null(spec.value(), "post_processor");
  const bool add_bos =
      template_has(post, maker.names().bos, true) || maker.flag("add_bos_token", false);
  const bool add_eos =
      template_has(post, maker.names().eos, false) || maker.flag("add_eos_token", false);
  GgufKeys keys = maker.finish("gpt2", *pre);
  keys.emplace_back("tokenizer.ggml.merges", merge_lines(model));
  keys.emplace_back("tokenizer.ggml.add_bos_token", add_bos);
  keys.emplace_back("tokenizer.ggml.add_eos_token", add_eos);
  return keys;
}

// Tokens of a WordPiece vocabulary into GGUF's form, once they are all there.
GgufKeys word_piece_keys(KeyMaker& maker, bool is_lower_case, bool strip_accents) {
  const auto named = [&](const char* key, const std::string& name, const char* absent) {
    auto id = maker.id_of(key, name);
    if (!id) {
      const auto& tokens = maker.tokens();
      const auto found = std::find(tokens.begin(), tokens.end(), absent);
      if (found != tokens.end()) id = found - tokens.begin();
    }
    return id;
  };
  const SpecialNames& names = maker.names();
  const auto cls = named("cls_token", names.cls, "[CLS]");
  const auto sep = named("sep_token", names.sep, "[SEP]");
  const auto unk = named("unk_token", names.unk, "[UNK]");
  const auto pad = named("pad_token", names.pad, "[PAD]");
  const auto mask = named("mask_token", names.mask, "[MASK]");
  if (!unk) maker.refuse("vocab.txt: has no unknown token");
  for (const auto id : {cls, sep, unk, pad, mask}) {
    if (id) {
      maker.set(*id, std::string(maker.tokens()[static_cast<std::size_t>(*id)]),
                TokenKind::kControl);
    }
  }
  for (std::size_t i = 0; i < maker.tokens().size(); ++i) {
    auto& token = maker.tokens()[i];
    if (!token.empty()) token = gguf_token_of_word_piece(token, maker.kinds()[i]);
  }
  GgufKeys keys = maker.finish("bert", "default");
  std::erase_if(keys, [](const auto& key) { return key.first.ends_with("_token_id"); });
  maker.add_id(keys, "bos", cls);
  maker.add_id(keys, "cls", cls);
  maker.add_id(keys, "seperator", sep);  // the key is spelled so
  maker.add_id(keys, "unknown", unk);
  maker.add_id(keys, "padding", pad);
  maker.add_id(keys, "mask", mask);
  keys.emplace_back("tokenizer.ggml.token_type_count", std::uint32_t{2});
  keys.emplace_back("tokenizer.ggml.normalizer.lowercase", is_lower_case);
  keys.emplace_back("tokenizer.ggml.normalizer.strip_accents", strip_accents);
  return keys;
}

GgufKeys json_keys(KeyMaker& maker, const std::string& content, const std::string& file) {
  Json parsed = parse_json(content, file);
  if (parsed.is_object()) maker.settings().apply(parsed);
  const JsonReader spec(std::move(parsed), file, kProgramFile);
  const Json& model = member_or_null(spec.value(), "model");
  const Json& type = member_or_null(model, "type");
  const bool has_bytes = member_or_null(model, "byte_fallback") == true;
  // Files of early versions have no type; only BPE has merges.
  if ((type == "BPE" || (type.is_null() && model.contains("merges"))) && !has_bytes) {
    return byte_bpe_keys(maker, spec, file);
  }
  if (type == "WordPiece") {
    const Json& normalizer = member_or_null(spec.value(), "normalizer");
    if (member_or_null(normalizer, "type") != "BertNormalizer") {
      maker.refuse("tokenizer.json: normalizer: GGUF has only BERT's for WordPiece");
    }
    if (member_or_null(member_or_null(spec.value(), "pre_tokenizer"), "type") !=
        "BertPreTokenizer") {
      maker.refuse("tokenizer.json: pre_tokenizer: GGUF has only BERT's for WordPiece");
    }
    for (const auto* key : {"clean_text", "handle_chinese_chars"}) {
      if (member_or_null(normalizer, key) == false) {
        maker.refuse(fmt::format(
            "tokenizer.json: normalizer.{}: false has no place in GGUF, where it is done", key));
      }
    }
    const Json& prefix = member_or_null(model, "continuing_subword_prefix");
    if (prefix != "##" && !prefix.is_null()) {
      maker.refuse("tokenizer.json: model.continuing_subword_prefix: GGUF takes ## alone");
    }
    const bool is_lower_case = member_or_null(normalizer, "lowercase") != false;
    const Json& strip = member_or_null(normalizer, "strip_accents");
    set_vocabulary(maker, spec.at("model").at("vocab"));
    maker.set_added_tokens(added_tokens_of(spec), "");
    return word_piece_keys(maker, is_lower_case,
                           strip.is_boolean() ? strip == true : is_lower_case);
  }
  maker.refuse("tokenizer.json: model: GGUF takes byte-level BPE and WordPiece; this one is " +
               (has_bytes ? std::string("BPE with byte fallback (its tokenizer.model would do)")
                          : type.dump(-1, ' ', true)));
}

// `known` are the tokens of a tokenizer.json next to it.
GgufKeys sentencepiece_keys(KeyMaker& maker, const std::string& content, const std::string& file,
                            std::vector<AddedToken> known) {
  if (is_tiktoken(content)) {
    maker.refuse(
        "tokenizer.model: holds tiktoken ranks; GGUF wants merges: use the model's "
        "tokenizer.json");
  }
  const SentencepieceModel model = read_sentencepiece_model(content, file);
  if (model.type != SentencepieceModel::Type::kBpe) {
    maker.refuse("tokenizer.model: GGUF's llama vocabulary is BPE; this model is of another type");
  }
  if (model.treat_whitespace_as_suffix) {
    maker.refuse(
        "tokenizer.model: treat_whitespace_as_suffix: GGUF's llama vocabulary has the space of a "
        "word in front of it, not behind it");
  }
  if (!model.escape_whitespaces) {
    maker.refuse(
        "tokenizer.model: escape_whitespaces is false: GGUF's llama vocabulary spells a space as "
        "U+2581");
  }
  for (std::size_t i = 0; i < model.pieces.size(); ++i) {
    const auto& piece = model.pieces[i];
    maker.set(static_cast<std::int64_t>(i), piece.text, piece.kind, piece.score);
  }
  if (!model.precompiled_charsmap.empty()) {
    warn("{}: llama.cpp leaves out the normalizer {}: text that it changes may get other ids", file,
         model.normalizer_name);
  }
  if (model.remove_extra_whitespaces) {
    warn(
        "{}: llama.cpp does not remove extra spaces, as the model asks for: text with them may get "
        "other ids",
        file);
  }
  const TokenizerSettings& settings = maker.settings();
  const bool has_prefix = settings.flag("add_prefix_space").value_or(model.add_dummy_prefix);
  if (has_prefix && !settings.flag("legacy").value_or(true)) {
    warn(
        "{}: legacy is false, but llama.cpp puts a space behind every special token: text there "
        "may "
        "get other ids",
        settings.config().where());
  }
  maker.set_added_tokens(std::move(known), "LlamaTokenizer");
  // What the settings name goes before the model's own (a chat model's end of a turn).
  const auto bos = maker.id_of("bos_token", maker.names().bos);
  const auto eos = maker.id_of("eos_token", maker.names().eos);
  const auto pad = maker.id_of("pad_token", maker.names().pad);
  GgufKeys keys = maker.finish("llama", "default");
  std::erase_if(keys, [](const auto& key) { return key.first.ends_with("_token_id"); });
  const auto add = [&](const char* name, std::optional<std::int64_t> named, std::int32_t id) {
    const std::int64_t chosen = named.value_or(id);
    if (chosen >= 0) maker.add_id(keys, name, chosen);
  };
  add("bos", bos, model.bos_id);
  add("eos", eos, model.eos_id);
  add("unknown", std::nullopt, model.unk_id);
  add("padding", pad, model.pad_id);
  keys.emplace_back("tokenizer.ggml.add_bos_token", maker.flag("add_bos_token", true));
  keys.emplace_back("tokenizer.ggml.add_eos_token", maker.flag("add_eos_token", false));
  keys.emplace_back("tokenizer.ggml.add_space_prefix", has_prefix);
  keys.emplace_back("tokenizer.ggml.remove_extra_whitespaces", model.remove_extra_whitespaces);
  return keys;
}

GgufKeys vocab_txt_keys(KeyMaker& maker, const std::string& content) {
  std::int64_t id = 0;
  for (const auto line : split_lines(content)) {
    maker.set(id++, std::string(line), TokenKind::kNormal);
  }
  maker.set_added_tokens({}, "BertTokenizer");
  if (!maker.flag("tokenize_chinese_chars", true)) {
    maker.refuse(
        "tokenizer_config.json: tokenize_chinese_chars: false has no place in GGUF, where it is "
        "done");
  }
  const bool is_lower_case = maker.flag("do_lower_case", true);
  return word_piece_keys(maker, is_lower_case, maker.flag("strip_accents", is_lower_case));
}

GgufKeys vocab_json_keys(KeyMaker& maker, const TokenizerFiles& files, const std::string& source) {
  const auto merges = files.find("merges.txt");
  if (merges == files.end()) maker.refuse("vocab.json: merges.txt is not beside it");
  const std::string path = source + "/vocab.json";
  set_vocabulary(maker, JsonReader(parse_json(files.at("vocab.json"), path), path, kProgramFile));
  maker.set_added_tokens({}, "GPT2Tokenizer");
  if (maker.flag("add_prefix_space", false)) {
    maker.refuse(
        "tokenizer_config.json: add_prefix_space: llama.cpp puts no space in front of a text");
  }
  std::vector<std::string> lines;
  for (const auto line : split_lines(merges->second)) {
    if (!line.starts_with("#version") && !line.empty()) lines.emplace_back(line);
  }
  GgufKeys keys = maker.finish("gpt2", "gpt-2");
  keys.emplace_back("tokenizer.ggml.merges", std::move(lines));
  keys.emplace_back("tokenizer.ggml.add_bos_token", maker.flag("add_bos_token", false));
  return keys;
}

}  // namespace

TokenizerFiles tokenizer_files_from_gguf(const GgufFile& file) {
  if (!file.has("tokenizer.ggml.model")) return {};
  const GgufVocabulary vocabulary = read_gguf_vocabulary(file);
  switch (vocabulary.model) {
    case GgufVocabulary::Model::kGpt2:
      return byte_bpe_files(file, vocabulary);
    case GgufVocabulary::Model::kLlama:
      return sentencepiece_files(file, vocabulary);
    case GgufVocabulary::Model::kBert:
      return word_piece_files(file, vocabulary);
  }
  return {};
}

GgufKeys gguf_tokenizer_keys(const TokenizerFiles& files, const Json& config,
                             const std::string& source) {
  TokenizerFiles all = files;
  all["config.json"] = config.dump();
  const TokenizerSettings settings(all, source);
  KeyMaker maker(settings, config, source);
  const auto path = [&](const char* name) { return fmt::format("{}/{}", source, name); };
  // A sentencepiece model says all; the tokenizer.json next to it is made from it.
  if (const auto found = files.find("tokenizer.model");
      found != files.end() && !(is_tiktoken(found->second) && files.contains("tokenizer.json"))) {
    std::vector<AddedToken> known;
    const auto spec = files.find("tokenizer.json");
    if (spec != files.end() && !settings.wants_sentencepiece()) {
      const std::string file = path("tokenizer.json");
      known = added_tokens_of(JsonReader(parse_json(spec->second, file), file, kProgramFile));
    }
    return sentencepiece_keys(maker, found->second, path("tokenizer.model"), std::move(known));
  }
  if (const auto found = files.find("tokenizer.json"); found != files.end()) {
    return json_keys(maker, found->second, path("tokenizer.json"));
  }
  if (files.contains("vocab.json")) return vocab_json_keys(maker, files, source);
  if (const auto found = files.find("vocab.txt"); found != files.end()) {
    return vocab_txt_keys(maker, found->second);
  }
  return {};
}

}  // namespace lowbank::tokenizers
