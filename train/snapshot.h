#pragma once

#include <map>
#include <string>

#include <nlohmann/json_fwd.hpp>
#include <torch/types.h>

namespace lowbank {

/// The state that a training run needs to continue: tensors and JSON records by name. The trainer,
/// its hooks and every other owner of state write under names of their own.
class Snapshot {
 public:
  /// `source` says in errors where the snapshot came from.
  explicit Snapshot(std::string source = "snapshot") : source_(std::move(source)) {}

  /// Adds the tensor itself, not a copy. Errors: c10::Error for a name that exists already.
  void add(const std::string& name, const torch::Tensor& tensor);
  void add_record(const std::string& name, const nlohmann::ordered_json& record);

  /// Writes the values saved under `name` into `tensor`. Errors: IoError if there are none, or if
  /// they have another shape or are not all finite.
  void copy_into(const std::string& name, const torch::Tensor& tensor) const;
  /// The record saved under `name`. Errors: IoError if there is none.
  nlohmann::ordered_json record(const std::string& name) const;

  const std::map<std::string, torch::Tensor>& tensors() const { return tensors_; }
  /// JSON texts by name.
  const std::map<std::string, std::string>& records() const { return records_; }
  const std::string& source() const { return source_; }

 private:
  std::string source_;
  std::map<std::string, torch::Tensor> tensors_;
  std::map<std::string, std::string> records_;
};

}  // namespace lowbank
