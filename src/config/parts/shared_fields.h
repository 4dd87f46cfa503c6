#pragma once

#include <string>

#include "config/field.h"

namespace lowbank {

/// Fields that many stages have.
Field checkpoint_field(const std::string* target);
Field resume_field(const bool* target);

/// Adds a part's fields to a stage's own, without a group's name before them.
void append(Fields& fields, Fields more);

}  // namespace lowbank
