#include "core/regex.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include <fmt/format.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

namespace lowbank {
namespace {

// What a thread needs to match; one object serves all patterns.
struct MatchScratch {
  MatchScratch()
      : data(pcre2_match_data_create(1, nullptr)),
        context(pcre2_match_context_create(nullptr)),
        stack(pcre2_jit_stack_create(std::size_t{32} << 10, std::size_t{16} << 20, nullptr)) {
    pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~MatchScratch() {
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    pcre2_jit_stack_free(stack);
  }
  MatchScratch(const MatchScratch&) = delete;
  MatchScratch& operator=(const MatchScratch&) = delete;

  pcre2_match_data* data;
  pcre2_match_context* context;
  pcre2_jit_stack* stack;
};

MatchScratch& match_scratch() {
  thread_local MatchScratch scratch;
  return scratch;
}

std::string message_of(int code) {
  PCRE2_UCHAR buffer[256];
  pcre2_get_error_message(code, buffer, sizeof(buffer));
  return reinterpret_cast<const char*>(buffer);
}

}  // namespace

RegexError::RegexError(const std::string& pattern, std::string reason, std::size_t position)
    : ConfigError(
          fmt::format("'{}' is no regular expression: {} at byte {}", pattern, reason, position)),
      reason_(std::move(reason)) {}

struct Regex::Code {
  Code() = default;
  ~Code() { pcre2_code_free(compiled); }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;

  pcre2_code* compiled = nullptr;
  bool has_jit = false;
};

Regex::Regex(const std::string& pattern, const RegexOptions& options) {
  const std::uint32_t flags = PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C |
                              (options.is_multiline ? PCRE2_MULTILINE : 0u);
  auto code = std::make_shared<Code>();
  int error = 0;
  PCRE2_SIZE error_at = 0;
  code->compiled = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                                 flags, &error, &error_at, nullptr);
  if (code->compiled == nullptr) throw RegexError(pattern, message_of(error), error_at);
  code->has_jit = pcre2_jit_compile(code->compiled, PCRE2_JIT_COMPLETE) == 0;
  code_ = std::move(code);
}

bool Regex::find(std::string_view text, std::size_t from, std::size_t& begin,
                 std::size_t& end) const {
  MatchScratch& scratch = match_scratch();
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const auto try_match = [&](auto match, std::uint32_t options) {
    return match(code_->compiled, subject, text.size(), from, options, scratch.data,
                 scratch.context);
  };
  int count =
      code_->has_jit ? try_match(pcre2_jit_match, PCRE2_NO_UTF_CHECK) : PCRE2_ERROR_JIT_STACKLIMIT;
  // Matching without the JIT's fixed stack takes longer but needs only heap, within PCRE2's limit.
  if (count == PCRE2_ERROR_JIT_STACKLIMIT) {
    count = try_match(pcre2_match, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT);
  }
  if (count == PCRE2_ERROR_NOMATCH) return false;
  if (count < 0) {
    throw ResourceError(fmt::format("cannot match the pattern at byte {} of the text: {}", from,
                                    message_of(count)));
  }
  const PCRE2_SIZE* const pair = pcre2_get_ovector_pointer(scratch.data);
  begin = pair[0];
  end = std::max(pair[0], pair[1]);  // \K in a lookahead may end a match before its start
  return true;
}

bool Regex::is_in(std::string_view text) const {
  std::size_t begin = 0;
  std::size_t end = 0;
  return find(text, 0, begin, end);
}

}  // namespace lowbank
