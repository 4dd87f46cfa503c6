#include "tokenizers/json_tokenizer.h"

#include <algorithm>
#include <limits>
#include <mutex>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json_reader.h"
#include "core/text.h"
#include "tokenizers/added_tokens.h"
#include "tokenizers/normalizer.h"
#include "tokenizers/post_processor.h"
#include "tokenizers/pre_tokenizer.h"
#include "tokenizers/text_hash.h"
#include "tokenizers/token_decoder.h"
#include "tokenizers/unicode.h"
#include "tokenizers/utf8_stream.h"
#include "tokenizers/word_cache.h"

namespace lowbank::tokenizers {
namespace {

using Ids = std::vector<std::int64_t>;

// Lengths of two texts that fit into `room`: the longer one gives way, then both get half.
std::pair<std::int64_t, std::int64_t> longest_first(std::int64_t first, std::int64_t second,
                                                    std::int64_t room) {
  if (first + second <= room) return {first, second};
  std::int64_t shorter = std::min(first, second);
  std::int64_t longer = std::max(shorter, room - shorter);
  if (shorter + longer > room) {
    shorter = room / 2;
    longer = room - shorter;
  }
  return first <= second ? std::pair(shorter, longer) : std::pair(longer, shorter);
}

// The last place before a space or line end, or between two Chinese characters if `in_chinese`; 0 if
// there is none. The text may end within a character.
std::size_t find_word_cut(std::string_view text, bool in_chinese) {
  bool is_behind_chinese = false;
  std::size_t size = text.size();
  while (size > 0 && is_utf8_continuation(text[size - 1])) --size;
  for (std::size_t at = size == 0 ? 0 : size - 1; at > 0;) {
    const std::size_t end = at;
    const char32_t c = previous_code_point(text, at);
    if (at > 0 && (c == U' ' || c == U'\n')) return at;
    const bool is_chinese = in_chinese && is_chinese_character(c);
    if (is_chinese && is_behind_chinese) return end;
    is_behind_chinese = is_chinese;
  }
  return 0;
}

class JsonTokenizer : public Tokenizer {
 public:
  JsonTokenizer(const JsonReader& spec, std::unique_ptr<WordModel> model, const std::string& name,
                const SpecialNames& names, const SpecialIds& ids, bool finds_special_tokens,
                std::optional<std::int64_t> num_rows);

  void encode_part(const TextPart& part, bool add_special, TokenWriter& out) const override;
  std::size_t find_cut(std::string_view text) const override;
  PairEncoding encode_pair(std::string_view first, std::optional<std::string_view> second,
                           std::int64_t max_length) const override;
  std::string decode(std::span<const std::int64_t> ids) const override;
  void decode_list(const IdList& ids,
                   const std::function<void(std::string_view)>& take) const override;
  std::string decode_piece(std::int64_t previous, std::int64_t id) const override;
  std::int64_t vocab_size() const override { return num_rows_; }
  std::optional<std::int64_t> bos_id() const override { return special_.bos; }
  std::optional<std::int64_t> eos_id() const override { return special_.eos; }
  SpecialIds special_ids() const override { return special_; }

 private:
  /// What one call needs; kept for the next, since filling the cache is most of the work.
  struct Workspace {
    WordCache cache;
    std::vector<WordToken> tokens;
    AlignedText normalized;
  };
  class Lease;
  class WordSink;

  void encode_body(const TextPart& part, TokenWriter& out) const;
  Ids encode_body(std::string_view text) const;
  /// Where texts may be cut.
  enum class Cuts { kNone, kBetweenLetters, kBetweenWords };
  Cuts find_cuts() const;
  void encode_segment(TextView segment, Workspace& work, WordSink& words) const;
  std::optional<std::int64_t> find(const std::string& token) const;
  void check_id(std::int64_t id) const;
  void check_row(std::int64_t id) const;
  /// Adds the text of `id`, if it has one and is not special.
  void add_token(std::int64_t id, std::vector<std::string>& tokens) const;
  std::string join(std::vector<std::string> tokens, const DecodeState& state) const;

  std::string name_;
  std::unique_ptr<WordModel> model_;
  std::unique_ptr<Normalizer> normalizer_;
  PreTokenizerChain pre_tokenizer_;
  PostProcessor post_processor_;
  std::unique_ptr<TokenDecoder> decoder_;
  std::optional<AddedTokens> added_;
  std::int64_t vocab_size_ = 0;
  std::int64_t num_rows_ = 0;  ///< vocab_size_ without the tokens that have no row in the model
  SpecialIds special_;
  mutable std::once_flag cut_checked_;
  mutable Cuts cuts_ = Cuts::kNone;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Workspace>> idle_;
};

/// A workspace for the length of one call.
class JsonTokenizer::Lease {
 public:
  explicit Lease(const JsonTokenizer& owner) : owner_(owner) {
    const std::lock_guard lock(owner_.mutex_);
    if (!owner_.idle_.empty()) {
      work_ = std::move(owner_.idle_.back());
      owner_.idle_.pop_back();
    }
    if (!work_) work_ = std::make_unique<Workspace>();
  }
  ~Lease() {
    const std::lock_guard lock(owner_.mutex_);
    owner_.idle_.push_back(std::move(work_));
  }
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  Workspace& operator*() const { return *work_; }

 private:
  const JsonTokenizer& owner_;
  std::unique_ptr<Workspace> work_;
};

/// Turns words into ids.
class JsonTokenizer::WordSink : public PieceSink {
 public:
  /// Origins of words count from `shift` before the part.
  WordSink(const WordModel& model, Workspace& work, std::size_t shift, TokenWriter& out)
      : model_(model), work_(work), shift_(shift), out_(out) {}

  void take(TextView word) override {
    std::size_t size = 0;
    const auto add_tokens = [&](std::span<const WordToken> tokens) {
      for (const auto& token : tokens) {
        size += token.size;
        // All but the last of the bytes that stand for a character end where the character begins.
        add(token.id, !out_.with_ends() ? shift_
                      : size > 0        ? word.origin(size - 1).end
                                        : word.origin(0).begin);
      }
    };
    if (word.text.size() > WordCache::kMaxWordBytes) {
      return model_.tokenize_long(word.text, add_tokens);
    }
    std::span<const WordToken> tokens;
    const std::uint64_t hash = hash_text(word.text);
    if (!work_.cache.find(word.text, hash, tokens)) {
      work_.tokens.clear();
      model_.tokenize(word.text, work_.tokens);
      tokens = work_.tokens;
      work_.cache.add(word.text, hash, tokens);
    }
    add_tokens(tokens);
  }

  void take_added(std::int32_t id, TextView text) {
    add(id, out_.with_ends() ? text.origin(text.text.size() - 1).end : shift_);
  }

 private:
  // Byte tokens may overtake an unknown one.
  void add(std::int32_t id, std::size_t end) {
    last_end_ = std::max(last_end_, std::max(end, shift_) - shift_);
    out_.add(id, last_end_);
  }

  const WordModel& model_;
  Workspace& work_;
  std::size_t shift_;
  TokenWriter& out_;
  std::size_t last_end_ = 0;
};

JsonTokenizer::JsonTokenizer(const JsonReader& spec, std::unique_ptr<WordModel> model,
                             const std::string& name, const SpecialNames& names,
                             const SpecialIds& ids, bool finds_special_tokens,
                             std::optional<std::int64_t> num_rows)
    : name_(name), model_(std::move(model)) {
  if (spec.has("normalizer")) normalizer_ = make_normalizer(spec.at("normalizer"));
  if (spec.has("pre_tokenizer")) {
    pre_tokenizer_ = PreTokenizerChain(spec.at("pre_tokenizer"), model_->can_take_bytes());
  }
  if (pre_tokenizer_.gives_bytes()) model_->take_bytes();
  if (spec.has("post_processor")) post_processor_ = make_post_processor(spec.at("post_processor"));
  if (spec.has("decoder")) decoder_ = make_token_decoder(spec.at("decoder"));
  if (spec.has("added_tokens")) {
    const auto list = spec.at("added_tokens");
    added_.emplace(&list, *model_, normalizer_.get(), finds_special_tokens);
  } else {
    added_.emplace(nullptr, *model_, normalizer_.get(), finds_special_tokens);
  }
  vocab_size_ = static_cast<std::int64_t>(model_->texts().size());
  if (!added_->tokens().empty()) {
    vocab_size_ = std::max<std::int64_t>(vocab_size_, added_->tokens().back().id + 1);
  }
  num_rows_ = vocab_size_;
  const auto num_own = static_cast<std::int64_t>(model_->texts().size());
  if (num_rows && *num_rows >= num_own) num_rows_ = std::min(vocab_size_, *num_rows);
  for (const auto* form : {&post_processor_.single, &post_processor_.pair}) {
    for (const auto& part : form->parts()) {
      for (const auto id : part.ids) {
        if (id < vocab_size_) continue;
        spec.at("post_processor")
            .fail(fmt::format("token id must be in [0, {}), got {}", vocab_size_, id));
      }
    }
  }
  const auto role = [&](const std::string& token, const std::optional<std::int64_t>& id) {
    const auto found = find(token);
    const auto& chosen = found ? found : id;
    return chosen && *chosen >= 0 && *chosen < num_rows_ ? chosen : std::nullopt;
  };
  special_.bos = role(names.bos, ids.bos);
  special_.eos = role(names.eos, ids.eos);
  special_.unk = role(names.unk, ids.unk);
  special_.pad = role(names.pad, ids.pad);
  special_.cls = role(names.cls, ids.cls);
  special_.sep = role(names.sep, ids.sep);
  special_.mask = role(names.mask, ids.mask);
}

std::optional<std::int64_t> JsonTokenizer::find(const std::string& token) const {
  if (token.empty()) return std::nullopt;
  if (const auto* added = added_->find(token)) return added->id;
  const std::int32_t id = model_->find(token);
  return id < 0 ? std::nullopt : std::optional<std::int64_t>(id);
}

void JsonTokenizer::encode_segment(TextView segment, Workspace& work, WordSink& words) const {
  if (normalizer_ && normalizer_->apply(segment, work.normalized)) {
    segment = view_of(work.normalized, segment);
  }
  added_->normalized().split(
      segment.text,
      [&](std::size_t begin, std::size_t end) {
        pre_tokenizer_.cut(segment.part(begin, end), words);
      },
      [&](const TokenMatcher::Match& match) {
        check_row(match.id);
        words.take_added(match.id, segment.part(match.begin, match.end));
      });
}

void JsonTokenizer::encode_body(const TextPart& part, TokenWriter& out) const {
  const std::string_view text = part.text;
  if (const auto bad = find_invalid_utf8(text); bad != std::string_view::npos) {
    throw ConfigError(fmt::format("{}: cannot encode text that is not UTF-8 at byte {}", name_,
                                  static_cast<std::size_t>(out.offset()) + bad));
  }
  // One less: only the first part begins where the text does.
  if (text.size() >= std::numeric_limits<std::uint32_t>::max()) {
    throw ConfigError(fmt::format("{}: a text must have less than 4 GiB, got {}", name_,
                                  format_bytes(text.size())));
  }
  const Lease lease(*this);
  Workspace& work = *lease;
  const std::size_t shift = part.is_first ? 0 : 1;
  TextView all{.text = text, .is_continued = !part.is_first};
  if (out.with_ends() || pre_tokenizer_.needs_origins()) all.offset = shift;
  WordSink words(*model_, work, shift, out);
  added_->raw().split(
      text,
      [&](std::size_t begin, std::size_t end) {
        encode_segment(all.part(begin, end), work, words);
      },
      [&](const TokenMatcher::Match& match) {
        check_row(match.id);
        words.take_added(match.id, all.part(match.begin, match.end));
      });
  // What was left out at the end belongs to the last token.
  if (part.is_last) out.extend_last(text.size());
}

Ids JsonTokenizer::encode_body(std::string_view text) const {
  IdList list;
  TokenWriter writer(list, /*with_ends=*/false);
  encode_body({.text = text}, writer);
  writer.finish();
  Ids ids(list.size());
  list.copy(0, ids);
  return ids;
}

void JsonTokenizer::encode_part(const TextPart& part, bool add_special, TokenWriter& out) const {
  bool is_behind_text = false;
  for (const auto& piece : post_processor_.single.parts()) {
    if (piece.text == 0) {
      encode_body(part, out);
      is_behind_text = true;
    } else if (add_special && (is_behind_text ? part.is_last : part.is_first)) {
      for (const auto id : piece.ids) {
        out.add_special(static_cast<std::int32_t>(id), is_behind_text ? part.text.size() : 0);
      }
    }
  }
}

JsonTokenizer::Cuts JsonTokenizer::find_cuts() const {
  const auto& parts = post_processor_.single.parts();
  const auto num_texts = std::count_if(parts.begin(), parts.end(),
                                       [](const Template::Part& part) { return part.text == 0; });
  if (num_texts != 1) return Cuts::kNone;
  if ((!normalizer_ || normalizer_->keeps_white_space()) &&
      pre_tokenizer_.only_drops_white_space() && added_->raw().keeps_word_cuts() &&
      added_->normalized().keeps_word_cuts()) {
    return Cuts::kBetweenWords;
  }
  const auto space = normalizer_ ? normalizer_->space_at_cut() : std::optional<std::string>(" ");
  if (!space || !added_->raw().keeps_cuts(" ") || !added_->normalized().keeps_cuts(*space)) {
    return Cuts::kNone;
  }
  // Steps that look for a space do not find one that has become something else.
  const bool has_space = *space == " ";
  const auto at_cut = pre_tokenizer_.at_cut();
  if (at_cut == PreTokenizer::AtCut::kUnknown || (!has_space && !pre_tokenizer_.is_empty())) {
    return Cuts::kNone;
  }
  if (at_cut == PreTokenizer::AtCut::kSplits) return Cuts::kBetweenLetters;
  class FirstWord : public PieceSink {
   public:
    void take(TextView word) override { text += word.text; }
    std::string text;
  } word;
  pre_tokenizer_.cut({.text = *space, .is_continued = true}, word);
  return model_->can_cut_before(word.text) ? Cuts::kBetweenLetters : Cuts::kNone;
}

std::size_t JsonTokenizer::find_cut(std::string_view text) const {
  std::call_once(cut_checked_, [&] { cuts_ = find_cuts(); });
  if (cuts_ == Cuts::kNone) return 0;
  if (cuts_ == Cuts::kBetweenWords) {
    return find_word_cut(text, normalizer_ && normalizer_->spaces_chinese());
  }
  for (std::size_t at = text.rfind(' '); at != std::string_view::npos && at > 0;
       at = text.rfind(' ', at - 1)) {
    if (at + 1 < text.size() && is_ascii_letter(text[at - 1]) && is_ascii_letter(text[at + 1])) {
      return at;
    }
  }
  return 0;
}

PairEncoding JsonTokenizer::encode_pair(std::string_view first,
                                        std::optional<std::string_view> second,
                                        std::int64_t max_length) const {
  const Template& form = second ? post_processor_.pair : post_processor_.single;
  const auto room = max_length - static_cast<std::int64_t>(form.num_special());
  if (room < 0) {
    throw ConfigError(
        fmt::format("{}: max_length must be >= {}, the number of special tokens; got {}", name_,
                    form.num_special(), max_length));
  }
  Ids texts[2] = {encode_body(first), {}};
  if (second) texts[1] = encode_body(*second);
  const auto sizes = longest_first(static_cast<std::int64_t>(texts[0].size()),
                                   static_cast<std::int64_t>(texts[1].size()), room);
  texts[0].resize(static_cast<std::size_t>(sizes.first));
  texts[1].resize(static_cast<std::size_t>(sizes.second));
  PairEncoding out;
  for (const auto& part : form.parts()) {
    const Ids& ids = part.text < 0 ? part.ids : texts[part.text];
    out.ids.insert(out.ids.end(), ids.begin(), ids.end());
    out.type_ids.insert(out.type_ids.end(), ids.size(), part.type_id);
  }
  return out;
}

void JsonTokenizer::check_id(std::int64_t id) const {
  if (id < 0 || id >= vocab_size_) {
    throw ConfigError(
        fmt::format("{}: token id must be in [0, {}); got {}", name_, vocab_size_, id));
  }
}

void JsonTokenizer::check_row(std::int64_t id) const {
  if (id < num_rows_) return;
  throw ConfigError(fmt::format(
      "{}: the text has the added token '{}' with id {}, but the model has only {} rows", name_,
      added_->find(id)->content, id, num_rows_));
}

void JsonTokenizer::add_token(std::int64_t id, std::vector<std::string>& tokens) const {
  if (const auto* added = added_->find(id)) {
    if (!added_->is_special(added->content)) tokens.push_back(added->content);
    return;
  }
  const auto at = static_cast<std::size_t>(id);
  if (at >= model_->texts().size()) return;  // a hole between added tokens
  const std::string& text = model_->texts()[at];
  if (text.empty() && model_->find("") != id) return;
  if (!added_->is_special(text)) tokens.push_back(text);
}

std::string JsonTokenizer::join(std::vector<std::string> tokens, const DecodeState& state) const {
  if (decoder_) decoder_->decode(tokens, state);
  std::string text;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    // Without a decoder the peer puts a space between tokens.
    if (!decoder_ && (i > 0 || !state.at_start)) text += ' ';
    text += tokens[i];
  }
  return text;
}

std::string JsonTokenizer::decode(std::span<const std::int64_t> ids) const {
  std::vector<std::string> tokens;
  tokens.reserve(ids.size());
  for (const auto id : ids) {
    check_id(id);
    add_token(id, tokens);
  }
  if (tokens.empty()) return "";
  return join(std::move(tokens), {});
}

void JsonTokenizer::decode_list(const IdList& ids,
                                const std::function<void(std::string_view)>& take) const {
  constexpr std::size_t kBlockTokens = 4096;
  using Blocks = TokenDecoder::Blocks;
  const auto blocks = decoder_ ? decoder_->blocks() : Blocks::kAnywhere;
  const bool between_words = blocks == Blocks::kBetweenWords;
  std::vector<std::string> tokens;
  std::string bytes;  // that may be the start of a character
  DecodeState state{.keep_bytes = !between_words};
  // Decodes all but the last `num_left` tokens.
  const auto decode_front = [&](std::size_t num_left) {
    std::vector<std::string> left(
        std::make_move_iterator(tokens.end() - static_cast<std::ptrdiff_t>(num_left)),
        std::make_move_iterator(tokens.end()));
    tokens.resize(tokens.size() - num_left);
    state.at_end = num_left == 0;
    bytes += join(std::exchange(tokens, std::move(left)), state);
    state.at_start = false;
    // A broken character does not reach over a byte of ASCII.
    std::size_t end = bytes.size();
    while (!state.at_end && end > 0 && static_cast<unsigned char>(bytes[end - 1]) >= 0x80) --end;
    if (find_invalid_utf8(bytes) == std::string::npos) end = bytes.size();
    take(replace_invalid_utf8(std::string_view(bytes).substr(0, end)));
    bytes.erase(0, end);
  };
  for (const auto& chunk : ids.chunks()) {
    for (const auto id : chunk) {
      check_id(id);
      add_token(id, tokens);
      // The last token waits: it may be the last of the text.
      const std::size_t count = tokens.size();
      if (count <= kBlockTokens || blocks == Blocks::kNever) continue;
      const auto& previous = tokens[count - 2];
      const auto& next = tokens[count - 1];
      if (between_words
              ? !previous.empty() && !next.empty() && decoder_->is_word_border(previous, next)
              : !(is_byte_token(previous) && is_byte_token(next))) {
        decode_front(1);
      }
    }
  }
  if (tokens.empty()) return;
  if (!state.at_start) return decode_front(0);
  take(join(std::move(tokens), {}));
}

std::string JsonTokenizer::decode_piece(std::int64_t previous, std::int64_t id) const {
  check_id(id);
  std::vector<std::string> tokens;
  add_token(id, tokens);
  if (tokens.empty()) return "";
  const bool at_start = previous < 0 || previous == special_.bos || previous == special_.cls;
  const DecodeState state{.at_start = at_start, .keep_bytes = true};
  if (at_start || previous >= vocab_size_) return join(std::move(tokens), state);
  // A decoder may join two tokens in a way of their own: what both give, less what the first gives.
  std::vector<std::string> before;
  add_token(previous, before);
  if (before.empty()) return join(std::move(tokens), state);
  std::vector<std::string> both = before;
  both.push_back(tokens[0]);
  const std::string head = join(std::move(before), state);
  std::string text = join(std::move(both), state);
  return text.starts_with(head) ? text.substr(head.size()) : join(std::move(tokens), state);
}

}  // namespace

std::unique_ptr<Tokenizer> make_json_tokenizer(const nlohmann::ordered_json& spec,
                                               std::unique_ptr<WordModel> model,
                                               const std::string& name, const SpecialNames& names,
                                               const SpecialIds& ids, bool finds_special_tokens,
                                               std::optional<std::int64_t> num_rows) {
  const JsonReader root(spec, name, kProgramFile);
  root.check_keys({"version", "truncation", "padding", "added_tokens", "normalizer",
                   "pre_tokenizer", "post_processor", "decoder", "model"});
  if (root.has("version") && root.text("version") != "1.0") {
    root.at("version").fail("must be \"1.0\", got \"" + root.text("version") + "\"");
  }
  return std::make_unique<JsonTokenizer>(root, std::move(model), name, names, ids,
                                         finds_special_tokens, num_rows);
}

std::unique_ptr<Tokenizer> make_json_tokenizer(const nlohmann::ordered_json& spec,
                                               const std::string& name, const SpecialNames& names,
                                               const SpecialIds& ids, bool finds_special_tokens,
                                               std::optional<std::int64_t> num_rows) {
  auto model = make_word_model(JsonReader(spec, name, kProgramFile).at("model"));
  return make_json_tokenizer(spec, std::move(model), name, names, ids, finds_special_tokens,
                             num_rows);
}

}  // namespace lowbank::tokenizers
