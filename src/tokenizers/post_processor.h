#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/json_reader.h"

namespace lowbank::tokenizers {

/// What stands around one text, or around two.
class Template {
 public:
  /// A text (0 or 1), or special tokens.
  struct Part {
    int text = -1;  // -1: special tokens
    std::vector<std::int64_t> ids = {};
    std::int64_t type_id = 0;
  };
  explicit Template(std::vector<Part> parts) : parts_(std::move(parts)) {}

  const std::vector<Part>& parts() const { return parts_; }
  std::size_t num_special() const;

 private:
  std::vector<Part> parts_;
};

/// `post_processor` of a tokenizer.json: the special tokens that stand around texts.
///
/// Source:  huggingface/tokenizers 0.22 processors (behaviour, checked by tests/parity).
/// Differs: a Sequence may have one processor that adds tokens, not more.
struct PostProcessor {
  Template single{{{.text = 0}}};
  Template pair{{{.text = 0}, {.text = 1, .type_id = 1}}};
};

/// Errors: IoError naming the key path.
PostProcessor make_post_processor(const JsonReader& spec);

}  // namespace lowbank::tokenizers
