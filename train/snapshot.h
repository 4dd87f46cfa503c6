#pragma once

#include <map>
#include <string>

#include <nlohmann/json_fwd.hpp>
#include <torch/types.h>

namespace lowbank {

/// What a training run has to know to go on: tensors and JSON records by name. The trainer, its
/// hooks and whoever else has a state each write their own names.
class Snapshot {
 public:
  /// `source` names in errors where a saved snapshot came from.
  explicit Snapshot(std::string source = "snapshot") : source_(std::move(source)) {}

  /// The tensor itself, not a copy. Errors: c10::Error for a name that is there already.
  void add(const std::string& name, const torch::Tensor& tensor);
  void add_record(const std::string& name, const nlohmann::ordered_json& record);

  /// Writes the values saved under `name` into `tensor`. Errors: IoError if there are none, or of
  /// another shape.
  void copy_into(const std::string& name, const torch::Tensor& tensor) const;
  /// Errors: IoError if there is none of this name.
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
