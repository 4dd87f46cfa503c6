#pragma once

#include <cstdint>
#include <string>

#include "config/field.h"

namespace lowbank {

/// The largest values that make sense: beyond them a number is a slip, and sizes that are multiplied
/// could overflow.
inline constexpr std::int64_t kMaxContext = 1 << 20;      ///< tokens of a text
inline constexpr std::int64_t kMaxBatch = 1 << 16;        ///< texts at a time
inline constexpr std::int64_t kMaxCount = 1'000'000'000;  ///< steps, examples, chunks
inline constexpr std::int64_t kMaxTokens = 1 << 24;       ///< tokens of a forward pass

/// Checks the product of a batch and a context, which are in their own ranges.
/// Errors: ConfigError with both keys if a forward pass has more than kMaxTokens.
void check_forward_size(const std::string& batch_key, std::int64_t batch,
                        const std::string& context_key, std::int64_t context);

/// Fields that many stages have.
Field checkpoint_field(const std::string* target);
Field resume_field(const bool* target);

/// Adds a part's fields to a stage's own, without a group's name before them.
void append(Fields& fields, Fields more);

}  // namespace lowbank
