#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include <torch/types.h>

#include "core/philox.h"
#include "io/checkpoint_meta.h"
#include "io/families/parameter_list.h"
#include "io/tensor_archive.h"
#include "nn/linear.h"

namespace lowbank {

/// Where a model's parameters come from while it is built: each module asks for its own by name.
class Weights {
 public:
  virtual ~Weights() = default;
  /// The parameters that the model is made of; before any is asked for.
  void set_parameters(const ParameterList& list);
  /// Whether the list holds this parameter.
  bool wants(const std::string& name) const { return parameters_.contains(name); }
  /// Parameter `name` of the list.
  torch::Tensor take(const std::string& name) { return values(listed(name)); }
  /// The model does without the parameter `name`, which the list ties to another one and a file may
  /// hold all the same.
  void tie(const std::string& name) { drop_copy(name, ties_.at(name)); }
  /// The projection at `path`, whose dense weight and bias are in the list, registered with
  /// `parent`: the stack of layers that the weights name, or a dense layer. Errors: IoError for a
  /// record that does not fit.
  LinearSlot slot(torch::nn::Module& parent, const std::string& path, LinearRole role);

  /// Whether a file holds this parameter: for parts that are there in some files and not in others.
  virtual bool has(const std::string& name) const = 0;
  /// A tensor of exactly this shape, of the wanted device and type, free to be written to.
  virtual torch::Tensor values(const ParameterSpec& parameter) = 0;
  /// Every slot made so far, in order: for LanguageModel::set_slots.
  std::vector<LinearSlot> take_slots() { return std::move(slots_); }

 protected:
  /// The layers at this path, innermost first; none for a dense layer.
  virtual std::vector<LayerRecord> layers(const std::string& /*path*/) { return {}; }
  /// The file that holds their records, for errors.
  virtual std::string record_file() const { return {}; }
  /// A stored copy of `original` under the name `name` has no place in the model.
  virtual void drop_copy(const std::string& /*name*/, const std::string& /*original*/) {}

 private:
  const ParameterSpec& listed(const std::string& name) const;

  std::unordered_map<std::string, ParameterSpec> parameters_;
  std::unordered_map<std::string, std::string> ties_;
  std::vector<LinearSlot> slots_;
};

/// Parameters of a checkpoint folder, whole or in shards, as open_weights_folder reads it.
///
/// What does not fit is collected, so that one error names all of it; a place in the model that got
/// no tensor holds a shape without values until `finish` throws.
class FileWeights : public Weights {
 public:
  /// `rename` gives the parameter's name in today's transformers.
  /// Errors: IoError for missing or corrupt files.
  FileWeights(const std::string& folder, const CheckpointMeta& meta, c10::Device device,
              c10::ScalarType type, const std::function<std::string(const std::string&)>& rename);

  bool has(const std::string& name) const override { return sources_.contains(name); }
  torch::Tensor values(const ParameterSpec& parameter) override;

  /// What no file holds below the module path `path` comes from `other`, which must live as long.
  void fill_in(std::string path, Weights& other);
  /// Drops what the files hold below the module path `path`.
  void leave_out(const std::string& path);
  /// Every tensor not yet asked for is a problem, except buffers of old files that models compute
  /// themselves; so is a factored layer of lowbank.json that the model has no place for.
  /// Errors: IoError with at most 20 problems.
  void finish();

  /// Bytes that the tensors take once loaded.
  std::uint64_t loaded_bytes() const;

 private:
  struct Source {
    const TensorEntry* entry = nullptr;
    bool taken = false;
  };
  std::vector<LayerRecord> layers(const std::string& path) override;
  std::string record_file() const override { return folder_ + "/lowbank.json"; }
  /// One that differs is a problem.
  void drop_copy(const std::string& name, const std::string& original) override;
  void add_problem(std::string text);
  [[noreturn]] void throw_problems() const;

  std::string folder_;
  std::shared_ptr<const TensorArchive> archive_;
  c10::Device device_;
  c10::ScalarType type_;
  std::map<std::string, Source> sources_;
  std::map<std::string, std::vector<LayerRecord>> layers_;  // of slots still to be asked for
  std::vector<std::string> problems_;
  std::map<std::string, Weights*> fillers_;  // by module path
};

/// Parameters drawn from a key as the list says, for tests, benchmarks and training from scratch.
/// The same name gets the same values whatever else is drawn.
class RandomWeights : public Weights {
 public:
  /// `deviation` is that of Initialisation::kNormal.
  RandomWeights(const RandomKey& key, double deviation, c10::Device device, c10::ScalarType type)
      : key_(key), deviation_(deviation), device_(device), type_(type) {}
  /// Never: a random model has what its config.json asks for and no more.
  bool has(const std::string&) const override { return false; }
  torch::Tensor values(const ParameterSpec& parameter) override;

 private:
  RandomKey key_;
  double deviation_;
  c10::Device device_;
  c10::ScalarType type_;
};

}  // namespace lowbank
