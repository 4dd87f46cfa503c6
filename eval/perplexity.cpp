#include "eval/perplexity.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <memory>
#include <numbers>
#include <optional>

#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <torch/utils.h>

#include "core/error.h"
#include "core/interrupt.h"
#include "core/progress.h"
#include "core/text.h"
#include "models/language_model.h"
#include "models/token_loss.h"
#include "tokenizers/unicode.h"

namespace lowbank {
namespace {

using Window = PerplexityText::Window;

std::vector<Window> cut_windows(std::int64_t num_tokens, const PerplexityOptions& options) {
  const std::int64_t stride = options.stride > 0 ? options.stride : options.context;
  std::vector<Window> windows;
  std::int64_t scored_end = 0;  // all tokens before this one were predicted or begin a chunk
  for (std::int64_t begin = 0; begin < num_tokens; begin += stride) {
    const bool enough =
        options.max_chunks > 0 && static_cast<std::int64_t>(windows.size()) == options.max_chunks;
    const std::int64_t end = std::min(begin + options.context, num_tokens);
    const bool incomplete = end - begin < options.context;
    if (enough || (incomplete && !options.keep_last)) break;
    // The first token of a window has no context to be predicted from.
    const std::int64_t num_scored = end - std::max(scored_end, begin + 1);
    if (num_scored < 1) break;
    windows.push_back({.begin = begin, .length = end - begin, .num_scored = num_scored});
    scored_end = end;
  }
  return windows;
}

// What separates words for Python's str.split, with which others count them: Unicode's white space
// and four separators of ASCII. `end` is moved behind the character at text[at].
bool is_space(std::string_view text, std::size_t at, std::size_t& end) {
  end = at;
  const char32_t c = tokenizers::lenient_code_point(text, end);
  return tokenizers::is_white_space(c) || (c >= 0x1C && c <= 0x1F);
}

bool is_space(std::string_view text, std::size_t at) {
  std::size_t end = 0;
  return is_space(text, at, end);
}

/// Where a token ends in the text, and what count_words has counted up to there.
struct TokenEnd {
  std::int64_t num_tokens = 0;  // up to this one
  std::int64_t num_bytes = 0;
  std::int64_t num_words = 0;  // that begin before the end
  bool is_in_word = false;     // the end is inside a word, whose rest counts as a word
};

/// Collects the ids of a text, and the ends of those tokens at which scored tokens may begin or
/// end. It holds the text only until its tokens come.
class TokenCollector : public tokenizers::TokenSink {
 public:
  explicit TokenCollector(const PerplexityOptions& options)
      : context_(options.context), stride_(options.stride > 0 ? options.stride : options.context) {}

  void add_text(std::string_view text) {
    if (text.empty()) return;
    for (std::size_t i = ends_.size(); i > 0 && ends_[i - 1].num_bytes == text_end(); --i) {
      ends_[i - 1].is_in_word = was_word_ && !is_space(text, 0);
    }
    text_.append(text);
  }

  void take(std::span<const std::int32_t> ids, std::span<const std::int64_t> ends) override {
    for (std::size_t i = 0; i < ids.size(); ++i) {
      const auto num_tokens = static_cast<std::int64_t>(ids_.size() + i + 1);
      const bool is_border = (num_tokens - 1) % stride_ == 0 ||
                             (num_tokens >= context_ && (num_tokens - context_) % stride_ == 0);
      if (is_border) ends_.push_back(advance_to(num_tokens, ends[i]));
    }
    ids_.take(ids, ends);
    last_ = advance_to(static_cast<std::int64_t>(ids_.size()), ends.back());
    text_.erase(0, at_);
    text_start_ += static_cast<std::int64_t>(at_);
    next_ -= at_;
    at_ = 0;
  }

  tokenizers::IdList& ids() { return ids_; }
  TokenEnd end_of(std::int64_t num_tokens) const {
    const auto found = std::lower_bound(
        ends_.begin(), ends_.end(), num_tokens,
        [](const TokenEnd& end, std::int64_t wanted) { return end.num_tokens < wanted; });
    return found != ends_.end() && found->num_tokens == num_tokens ? *found : last_;
  }

 private:
  std::int64_t text_end() const { return text_start_ + static_cast<std::int64_t>(text_.size()); }

  TokenEnd advance_to(std::int64_t num_tokens, std::int64_t end) {
    for (; text_start_ + static_cast<std::int64_t>(at_) < end; ++at_) {
      if (at_ < next_) continue;  // within a character
      const bool is_word = !is_space(text_, at_, next_);
      num_words_ += is_word && !was_word_ ? 1 : 0;
      was_word_ = is_word;
    }
    return {
        .num_tokens = num_tokens,
        .num_bytes = end,
        .num_words = num_words_,
        .is_in_word = was_word_ && (at_ < next_ || (at_ < text_.size() && !is_space(text_, at_)))};
  }

  std::int64_t context_;
  std::int64_t stride_;
  tokenizers::IdList ids_;
  std::vector<TokenEnd> ends_;
  TokenEnd last_;
  std::string text_;  // from the end of the last token on
  std::int64_t text_start_ = 0;
  std::size_t at_ = 0;
  std::size_t next_ = 0;        // where the first character begins that is not before text_[at_]
  std::int64_t num_words_ = 0;  // before text_[at_]
  bool was_word_ = false;
};

// Counts the words and bytes of the text that the scored tokens cover. Adjacent runs of scored
// tokens count as one run.
void count_covered(const TokenCollector& tokens, PerplexityText& out) {
  for (std::size_t i = 0; i < out.windows.size();) {
    const auto& first = out.windows[i];
    const std::int64_t begin = first.begin + first.length - first.num_scored;
    std::int64_t end = first.begin + first.length;
    for (++i; i < out.windows.size(); ++i) {
      const auto& next = out.windows[i];
      if (next.begin + next.length - next.num_scored != end) break;
      end = next.begin + next.length;
    }
    const TokenEnd from = tokens.end_of(begin);
    const TokenEnd to = tokens.end_of(end);
    if (to.num_bytes == from.num_bytes) continue;
    out.num_bytes += to.num_bytes - from.num_bytes;
    out.num_words += to.num_words - from.num_words + (from.is_in_word ? 1 : 0);
  }
}

// The text in stretches, at most `max_chars` code points of it (0: all).
tokenizers::TextSource open_text(const std::string& path, std::int64_t max_chars) {
  const auto reader = std::make_shared<TextReader>(path);
  if (max_chars == 0) return [reader] { return reader->next(); };
  return [reader, left = max_chars]() mutable {
    if (left == 0) return std::string();
    std::string text = reader->next();
    text.resize(truncate_code_points(text, left).size());
    left -= count_code_points(text);
    return text;
  };
}

// Negative log-likelihoods of the last `num_scored` tokens of each row, summed in double.
torch::Tensor sum_of_scored(LanguageModel& model, const torch::Tensor& ids_BT,
                            const std::vector<std::int64_t>& num_scored) {
  const std::int64_t batch = ids_BT.size(0), length = ids_BT.size(1);
  const std::int64_t widest = *std::max_element(num_scored.begin(), num_scored.end());
  const auto hidden_BSD = model.hidden_states(ids_BT).narrow(1, length - 1 - widest, widest);
  const auto nll_BS = token_nll(model, hidden_BSD.reshape({batch * widest, -1}),
                                ids_BT.narrow(1, length - widest, widest).flatten())
                          .view({batch, widest})
                          .to(at::kDouble);
  auto total = at::zeros({}, nll_BS.options());
  for (std::size_t b = 0; b < num_scored.size(); ++b) {
    total +=
        nll_BS[static_cast<std::int64_t>(b)].narrow(0, widest - num_scored[b], num_scored[b]).sum();
  }
  return total;
}

}  // namespace

PerplexityText open_perplexity_text(const std::string& path, const PerplexityOptions& options,
                                    const tokenizers::Tokenizer& tokenizer,
                                    std::int64_t max_context) {
  if (max_context > 0 && options.context > max_context) {
    throw ConfigError(fmt::format("context: must be <= {} (the model's longest); got {}",
                                  max_context, options.context));
  }
  // Tokens behind the last chunk are not needed.
  const std::int64_t stride = options.stride > 0 ? options.stride : options.context;
  const auto most = static_cast<std::size_t>(
      options.max_chunks > 0 ? (options.max_chunks - 1) * stride + options.context : 0);
  TokenCollector tokens(options);
  tokenizers::TokenWriter writer(tokens, /*with_ends=*/true);
  tokenizers::encode_stream(
      tokenizer, open_text(path, options.max_chars), options.special, writer,
      [&] { return most > 0 && tokens.ids().size() >= most; },
      [&](std::string_view part) { tokens.add_text(part); });
  if (most > 0) tokens.ids().truncate(most);

  PerplexityText out;
  out.ids = std::move(tokens.ids());
  const auto num_tokens = static_cast<std::int64_t>(out.ids.size());
  out.windows = cut_windows(num_tokens, options);
  if (out.windows.empty()) {
    throw ConfigError(
        fmt::format("{}: {} tokens are less than one chunk of context {}; {}", path, num_tokens,
                    options.context,
                    num_tokens >= 2 ? "shorten the context, or score what there is with --keep-last"
                                    : "two tokens are the least"));
  }
  count_covered(tokens, out);
  return out;
}

PerplexityResult score_text(LanguageModel& model, const PerplexityText& text,
                            std::int64_t batch_size, bool show_progress, bool require_finite) {
  // Not InferenceMode: training validates with this function, and tensors that a layer may cache
  // must stay usable in training.
  const torch::NoGradGuard no_grad;
  const auto start = std::chrono::steady_clock::now();
  const auto device = model.parameters().front().device();
  const auto num_windows = static_cast<std::int64_t>(text.windows.size());
  auto total = at::zeros({}, at::TensorOptions(at::kDouble).device(device));
  PerplexityResult result;
  std::optional<ProgressBar> bar;
  if (show_progress) bar.emplace("scoring", num_windows, "chunk");
  for (std::int64_t first = 0; first < num_windows;) {
    if (interrupt_requested()) {
      throw Interrupted("stopped; nothing was saved, start the same command again");
    }
    std::vector<std::int64_t> rows;
    std::vector<std::int64_t> num_scored;
    const std::int64_t length = text.windows[static_cast<std::size_t>(first)].length;
    const auto num_ids = static_cast<std::size_t>(length);
    for (; first < num_windows && static_cast<std::int64_t>(num_scored.size()) < batch_size;
         ++first) {
      const auto& window = text.windows[static_cast<std::size_t>(first)];
      if (window.length != length) break;  // an incomplete last chunk is a batch of its own
      rows.resize(rows.size() + num_ids);
      text.ids.copy(static_cast<std::size_t>(window.begin), std::span(rows).last(num_ids));
      num_scored.push_back(window.num_scored);
      result.num_predicted += window.num_scored;
    }
    const auto ids_BT = at::tensor(rows, at::kLong).view({-1, length}).to(device);
    total += sum_of_scored(model, ids_BT, num_scored);
    if (bar) bar->update(first);
  }
  result.nll_sum = total.item<double>();
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (require_finite && !std::isfinite(result.nll_sum)) {
    throw ResourceError(
        "the model's predictions are not finite (NaN or infinite logits); its "
        "weights are damaged, or the dtype is too small for them");
  }
  return result;
}

PerplexityMetrics perplexity_metrics(const PerplexityResult& result, const PerplexityText& text,
                                     const PerplexityOptions& options) {
  const auto num_words = static_cast<double>(text.num_words);
  const auto num_bytes = static_cast<double>(text.num_bytes);
  return {.nll_sum = result.nll_sum,
          .num_predicted = result.num_predicted,
          .perplexity = std::exp(result.mean_nll()),
          .word_perplexity = std::exp(result.nll_sum / num_words),
          .byte_perplexity = std::exp(result.nll_sum / num_bytes),
          .bits_per_byte = result.nll_sum / num_bytes / std::numbers::ln2,
          .tokens_per_second = static_cast<double>(result.num_predicted) / result.seconds,
          .context = options.context,
          .stride = options.stride > 0 ? options.stride : options.context,
          .keep_last = options.keep_last,
          .special = options.special,
          .max_chars = options.max_chars,
          .max_chunks = options.max_chunks,
          .num_chunks = text.windows.size(),
          .num_tokens = static_cast<std::int64_t>(text.ids.size()),
          .num_words = text.num_words,
          .num_bytes = text.num_bytes};
}

}  // namespace lowbank
