#include "config/parts/shared_fields.h"

#include <utility>

namespace lowbank {

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
