#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/json_reader.h"
#include "tokenizers/aligned_text.h"

namespace lowbank::tokenizers {

/// Takes the parts of a text, in order; no part is empty.
class PieceSink {
 public:
  virtual ~PieceSink() = default;
  virtual void take(TextView piece) = 0;
};

/// A step that cuts texts into smaller ones.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  /// Empty parts may be given to `out`, which drops them. What `out` gets lives until it returns.
  virtual void cut(TextView piece, PieceSink& out) const = 0;

  /// What the step does where a text is cut before a space between two ASCII letters, a part that
  /// begins there being `is_continued`.
  enum class AtCut {
    kUnknown,  ///< the cut may change its pieces
    kKeeps,    ///< the pieces are the same, except that the piece over the cut becomes two
    kSplits,   ///< a piece ends there anyway
  };
  virtual AtCut at_cut() const { return AtCut::kUnknown; }
  /// True if a piece ends at any white space, which is in no piece.
  virtual bool drops_white_space() const { return false; }
};

/// `pre_tokenizer` of a tokenizer.json: its steps one after the other.
///
/// Source:  huggingface/tokenizers 0.22 pre_tokenizers (behaviour, checked by tests/parity).
/// Differs: UnicodeScripts and FixedLength are refused; trim_offsets has no meaning here.
class PreTokenizerChain {
 public:
  /// No steps: texts pass whole.
  PreTokenizerChain() = default;
  /// With `may_give_bytes`, a final ByteLevel leaves the mapping of bytes to characters to the
  /// receiver (gives_bytes()). Errors: IoError naming the key path.
  PreTokenizerChain(const JsonReader& spec, bool may_give_bytes);

  void cut(TextView text, PieceSink& words) const;
  bool gives_bytes() const { return gives_bytes_; }
  /// True if a step asks where in the original text its piece starts.
  bool needs_origins() const { return needs_origins_; }
  PreTokenizer::AtCut at_cut() const;
  /// True if nothing is done but to cut the text into words, between which white space is dropped.
  bool only_drops_white_space() const {
    return steps_.size() == 1 && steps_[0]->drops_white_space();
  }
  bool is_empty() const { return steps_.empty(); }

 private:
  class NextStep;
  void add_steps(const JsonReader& spec);
  void add_step(const JsonReader& spec, const std::string& type);
  void run(std::size_t step, TextView text, PieceSink& words) const;

  std::vector<std::unique_ptr<PreTokenizer>> steps_;
  bool gives_bytes_ = false;
  bool needs_origins_ = false;
};

/// `Metaspace`, as pre-tokenizer or decoder.
struct MetaspaceOptions {
  enum class Prepend { kAlways, kFirst, kNever };
  std::string replacement;             ///< one character, UTF-8
  Prepend prepend = Prepend::kAlways;  ///< which pieces get a replacement in front
  bool split = true;                   ///< every replacement starts a new piece
};

MetaspaceOptions read_metaspace(const JsonReader& spec);

/// The member `key`, a string of exactly one character.
char32_t read_character(const JsonReader& spec, std::string_view key);

}  // namespace lowbank::tokenizers
