#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "core/json_reader.h"
#include "tokenizers/added_tokens.h"
#include "tokenizers/json_tokenizer.h"

namespace lowbank::tokenizers {

/// Files of a folder by name, with their content.
using TokenizerFiles = std::map<std::string, std::string>;

/// An entry of the `added_tokens` of a tokenizer.json, without its id.
AddedToken read_added_token(const JsonReader& spec);

/// Tokens that are added to a vocabulary, with the ids that the `tokenizers` package gives them.
///
/// Source:  huggingface/tokenizers 0.22 AddedVocabulary::add_tokens (behaviour, checked by
///          tests/parity/make_tokenizer_folder_fixture.py).
class AddedTokenList {
 public:
  /// `find` returns the vocabulary's id of a token, or -1; `num_tokens` is the size of the
  /// vocabulary. A token of the vocabulary keeps its id there; every other token gets the id behind
  /// the vocabulary and the tokens before it, whatever id its file names.
  AddedTokenList(std::function<std::int64_t(std::string_view)> find, std::int64_t num_tokens)
      : find_(std::move(find)), num_tokens_(num_tokens) {}

  /// Adds a token, or replaces the token of the same text.
  void add(AddedToken token);
  const AddedToken* find(std::string_view content) const;
  /// In the order in which they were added.
  const std::vector<AddedToken>& tokens() const { return tokens_; }
  /// `added_tokens` of a tokenizer.json.
  nlohmann::ordered_json json() const;

 private:
  std::function<std::int64_t(std::string_view)> find_;
  std::int64_t num_tokens_;
  std::vector<AddedToken> tokens_;
};

/// `decoder` of a tokenizer.json, and after it the clean-up of spaces in a decoded text that
/// clean_up_tokenization_spaces asks for.
///
/// Source:  transformers 4.57.1 PreTrainedTokenizerBase.clean_up_tokenization, in its order.
nlohmann::ordered_json with_cleaned_spaces(nlohmann::ordered_json decoder);

/// What the files of a folder say about its vocabulary: tokenizer_config.json,
/// special_tokens_map.json, added_tokens.json, generation_config.json and config.json. This class
/// is the one place that decides which file wins (docs/tokenize.md has the rules as a table).
///
/// Source:  transformers 4.57.1 tokenization_utils_base.py (_from_pretrained),
///          tokenization_utils_fast.py and the classes of `kClasses` (behaviour, checked by
///          tests/parity/make_tokenizer_folder_fixture.py).
/// Errors:  IoError for a damaged file; ConfigError for a setting that cannot be honoured. Both name
///          file and key.
class TokenizerSettings {
 public:
  /// The files in `folder`.
  static TokenizerSettings of_folder(const std::string& folder);
  /// The settings among `files`; `source` is their folder's name in errors.
  TokenizerSettings(const TokenizerFiles& files, const std::string& source);

  /// What a class of transformers brings along.
  struct ClassRules;
  /// The rules of the class that tokenizer_config.json or config.json names, of the class `absent`
  /// if they name none.
  const ClassRules& rules(const char* absent) const;
  /// Whether the files name a class, or there is a tokenizer_config.json. Without both, transformers
  /// does not open the folder, and a vocabulary is read by itself.
  bool has_class() const { return !class_name_.empty() || has_config_; }
  bool is_llama() const;
  /// Whether added_tokens_decoder or added_tokens.json has tokens.
  bool has_added_tokens() const { return !tokens_.empty(); }
  /// Without "Fast"; empty if no file names one.
  const std::string& class_name() const { return class_name_; }

  const JsonReader& config() const { return config_; }
  /// A flag of tokenizer_config.json; nothing if it is null or absent.
  std::optional<bool> flag(std::string_view key) const;
  /// The special tokens; those of the class where the files name none.
  SpecialNames names(const char* absent_class) const;
  /// The ids in generation_config.json and config.json.
  SpecialIds ids() const;
  /// vocab_size of config.json.
  std::optional<std::int64_t> num_model_rows() const;
  /// Whether the text of a special token in a text is its id (split_special_tokens is not set).
  bool finds_special_tokens() const { return !flag("split_special_tokens").value_or(false); }

  /// Adds the tokens of the files: first those of added_tokens_decoder or added_tokens.json, then
  /// special tokens that are not there yet.
  void add_tokens(AddedTokenList& list, const char* absent_class) const;

  /// Changes a tokenizer.json as transformers does after opening it: added tokens, letter case and
  /// accents, the space in front, start and end tokens, clean-up of decoded texts.
  void apply(nlohmann::ordered_json& spec) const;

  /// Whether the Llama tokenizer of this folder is made from tokenizer.model although there is a
  /// tokenizer.json: add_prefix_space asks for it.
  bool wants_sentencepiece() const;

  /// The parts of a tokenizer.json for a sentencepiece model that a Llama tokenizer reads; its model
  /// is not among them. `list` has the tokens of the model that are found in texts.
  ///
  /// Source:  transformers 4.57.1 LlamaConverter; for models that remove extra spaces 5.x
  ///          LlamaTokenizer, which does not put a mark in front of a space.
  /// Differs: the normalizer of the model is not used, as in both; added tokens are found in the
  ///          text as it is, as in 5.x and in the slow tokenizer.
  nlohmann::ordered_json llama_spec(AddedTokenList& list, bool removes_extra_spaces) const;

 private:
  struct SpecialToken;
  std::vector<SpecialToken> special_tokens(const char* absent_class) const;
  nlohmann::ordered_json template_of(const ClassRules& rules, const AddedTokenList& list) const;
  bool llama_marks() const;

  std::string source_;
  JsonReader config_, special_, added_, generation_, model_;
  bool has_config_ = false;
  bool has_decoder_ = false;        ///< tokenizer_config.json has added_tokens_decoder
  std::vector<AddedToken> tokens_;  ///< of added_tokens_decoder or added_tokens.json, by id
  std::string class_name_;          ///< without "Fast"
};

}  // namespace lowbank::tokenizers
