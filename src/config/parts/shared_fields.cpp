#include "config/parts/shared_fields.h"

#include <utility>

#include <fmt/format.h>

#include "core/error.h"

namespace lowbank {

void check_forward_size(const std::string& batch_key, std::int64_t batch,
                        const std::string& context_key, std::int64_t context) {
  std::int64_t tokens = 0;
  if (!__builtin_mul_overflow(batch, context, &tokens) && tokens <= kMaxTokens) return;
  throw ConfigError(fmt::format("{}: {} x {} of {} are more than {} tokens in a forward pass",
                                batch_key, batch, context, context_key, kMaxTokens));
}

Field checkpoint_field(const std::string* target) {
  return Field("checkpoint", target, "checkpoint folder, or a run folder that holds one")
      .input()
      .required();
}

Field resume_field(const bool* target) {
  return Field("resume", target, "go on from the run folder's last saved point").no_effect();
}

void append(Fields& fields, Fields more) {
  for (auto& field : more) fields.push_back(std::move(field));
}

}  // namespace lowbank
