#include "train/snapshot.h"

#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "nn/tensor_file.h"

namespace lowbank {

void Snapshot::add(const std::string& name, const torch::Tensor& tensor) {
  TORCH_CHECK(tensors_.emplace(name, tensor).second, "Snapshot: '", name, "' is there already");
}

void Snapshot::add_record(const std::string& name, const nlohmann::ordered_json& record) {
  TORCH_CHECK(records_.emplace(name, record.dump()).second, "Snapshot: the record '", name,
              "' is there already");
}

void Snapshot::copy_into(const std::string& name, const torch::Tensor& tensor) const {
  const auto found = tensors_.find(name);
  if (found == tensors_.end() || found->second.sizes() != tensor.sizes()) {
    throw DamagedRecord(fmt::format(
        "{}: corrupt resume point: tensor {} is missing or has another shape", source_, name));
  }
  if (!all_finite(found->second)) {
    throw DamagedRecord(fmt::format(
        "{}: corrupt resume point: tensor {} has values that are not finite (NaN or infinity)",
        source_, name));
  }
  const at::NoGradGuard no_grad;
  tensor.copy_(found->second);
}

nlohmann::ordered_json Snapshot::record(const std::string& name) const {
  const auto found = records_.find(name);
  if (found == records_.end()) {
    throw DamagedRecord(fmt::format("{}: corrupt resume point: '{}' is missing", source_, name));
  }
  return parse_json(found->second, source_);
}

}  // namespace lowbank
