#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "tokenizers/tokenizer.h"
#include "tokenizers/word_model.h"

namespace lowbank::tokenizers {

/// The special tokens, by their text; empty if the file does not name one.
struct SpecialNames {
  std::string bos = {}, eos = {}, unk = {}, pad = {}, cls = {}, sep = {}, mask = {};
};

/// A tokenizer from the content of a tokenizer.json; `name` names it in errors. Without
/// `finds_special_tokens`, the text of a special token is text like any other. With `num_rows`, a
/// text with an added token whose id is not below it is a ConfigError; such tokens play no role.
///
/// Source:  huggingface/tokenizers 0.22 (behaviour; ids and decoded texts are checked by
///          tests/parity/make_tokenizer_fixture.py).
/// Differs: `truncation` and `padding` are read over: encode() neither cuts nor pads. Ids outside
///          the vocabulary are refused, not left out.
/// Errors:  IoError naming file and key path for what is unknown or would change the result.
std::unique_ptr<Tokenizer> make_json_tokenizer(const nlohmann::ordered_json& spec,
                                               const std::string& name,
                                               const SpecialNames& names = {},
                                               const SpecialIds& ids = {},
                                               bool finds_special_tokens = true,
                                               std::optional<std::int64_t> num_rows = {});

/// The same with a model of its own, where `spec` has none.
std::unique_ptr<Tokenizer> make_json_tokenizer(
    const nlohmann::ordered_json& spec, std::unique_ptr<WordModel> model, const std::string& name,
    const SpecialNames& names = {}, const SpecialIds& ids = {}, bool finds_special_tokens = true,
    std::optional<std::int64_t> num_rows = {});

}  // namespace lowbank::tokenizers
