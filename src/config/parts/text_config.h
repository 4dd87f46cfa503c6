#pragma once

#include <cstdint>
#include <string>

#include "config/field.h"

namespace lowbank {

/// Text for language modelling and how it is cut.
struct TextDataConfig {
  std::string train;           ///< UTF-8 text to learn from
  std::string valid;           ///< held-out text
  std::int64_t context = 128;  ///< tokens per example; >= 2
  Fields fields() const;
};

}  // namespace lowbank
