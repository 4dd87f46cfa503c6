#include "models/weights.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/error.h"
#include "io/families/families.h"
#include "nn/layer_kinds.h"
#include "nn/tensor_file.h"

namespace lowbank {
namespace {

constexpr std::size_t kMaxProblems = 20;

bool is_below(const std::string& name, const std::string& path) {
  return name.starts_with(path + ".");
}

}  // namespace

void Weights::set_parameters(const ParameterList& list) {
  for (const auto& parameter : list.parameters) parameters_.emplace(parameter.name, parameter);
  ties_.insert(list.ties.begin(), list.ties.end());
}

const ParameterSpec& Weights::listed(const std::string& name) const {
  const auto found = parameters_.find(name);
  TORCH_INTERNAL_ASSERT(found != parameters_.end(), "the family does not list '", name, "'");
  return found->second;
}

LinearSlot Weights::slot(torch::nn::Module& parent, const std::string& path, LinearRole role) {
  const auto& shape_OI = listed(path + ".weight").shape;
  auto records = layers(path);
  if (records.empty()) records = {{.kind = "dense"}};
  const std::string source = record_file();
  std::shared_ptr<Linear> stack;
  for (const auto& record : records) {
    stack = build_layer(
        {.record = record,
         .path = path,
         .source = source,
         .in_features = shape_OI[1],
         .out_features = shape_OI[0],
         .has_bias = wants(path + ".bias"),
         .base = stack,
         .take = [&](const std::string& name, const std::vector<std::int64_t>& shape) {
           const auto found = parameters_.find(path + "." + name);
           return values(found != parameters_.end()
                             ? found->second
                             : ParameterSpec{.name = path + "." + name, .shape = shape});
         }});
  }
  return slots_.emplace_back(parent, path, role, std::move(stack));
}

FileWeights::FileWeights(const std::string& folder, const CheckpointMeta& meta, c10::Device device,
                         c10::ScalarType type,
                         const std::function<std::string(const std::string&)>& rename)
    : folder_(folder), archive_(open_weights_folder(folder)), device_(device), type_(type) {
  for (const auto& entry : archive_->entries()) {
    if (!sources_.emplace(rename(entry.name), Source{.entry = &entry}).second) {
      add_problem(fmt::format("'{}' is there twice, under an old and a new name", entry.name));
    }
  }
  for (const auto& slot : meta.linears) {
    for (const auto& layer : slot.layers) layer_kind(layer.kind, slot.path, record_file());
    layers_.emplace(slot.path, slot.layers);
  }
}

torch::Tensor FileWeights::values(const ParameterSpec& parameter) {
  const auto& name = parameter.name;
  const auto& shape = parameter.shape;
  // A shape without values: no memory for what no file backs.
  const auto placeholder = [&] {
    return at::empty(shape, at::TensorOptions(type_).device(c10::kMeta));
  };
  const auto found = sources_.find(name);
  if (found == sources_.end()) {
    for (const auto& [path, other] : fillers_) {
      if (is_below(name, path)) return other->values(parameter);
    }
    add_problem(fmt::format("'{}' [{}] is missing", name, fmt::join(shape, ", ")));
    return placeholder();
  }
  Source& source = found->second;
  source.taken = true;
  if (source.entry->shape != shape) {
    add_problem(fmt::format("'{}' is [{}], config.json wants [{}]", name,
                            fmt::join(source.entry->shape, ", "), fmt::join(shape, ", ")));
    return placeholder();
  }
  if (!is_float(source.entry->type)) {
    add_problem(fmt::format("'{}' is of type {}, which is no weight type", name,
                            element_type_name(source.entry->type)));
    return placeholder();
  }
  auto values = view_tensor(archive_, *source.entry)
                    .to(type_, /*non_blocking=*/false,
                        /*copy=*/true);
  if (!all_finite(values)) {
    add_problem(fmt::format("'{}' has values that are not finite (NaN or infinity)", name));
  }
  return values.to(device_);
}

std::vector<LayerRecord> FileWeights::layers(const std::string& path) {
  auto found = layers_.extract(path);
  return found.empty() ? std::vector<LayerRecord>() : std::move(found.mapped());
}

void FileWeights::drop_copy(const std::string& name, const std::string& original) {
  const auto copy = sources_.find(name);
  if (copy == sources_.end()) return;
  copy->second.taken = true;
  const auto kept = sources_.find(original);
  if (kept == sources_.end()) return;  // reported as missing by values()
  const auto view = [this](const Source& source) { return view_tensor(archive_, *source.entry); };
  if (copy->second.entry->shape != kept->second.entry->shape ||
      copy->second.entry->type != kept->second.entry->type ||
      !at::equal(view(copy->second), view(kept->second))) {
    add_problem(
        fmt::format("'{}' differs from '{}', although config.json ties them", name, original));
  }
}

void FileWeights::fill_in(std::string path, Weights& other) {
  fillers_.emplace(std::move(path), &other);
}

void FileWeights::leave_out(const std::string& path) {
  std::erase_if(sources_, [&](const auto& item) { return is_below(item.first, path); });
  std::erase_if(layers_, [&](const auto& item) { return is_below(item.first, path); });
}

void FileWeights::finish() {
  for (const auto& [name, source] : sources_) {
    if (source.taken || is_buffer_name(name)) continue;
    add_problem(fmt::format("'{}' [{}] has no place in the model", name,
                            fmt::join(source.entry->shape, ", ")));
  }
  for (const auto& [path, layers] : layers_) {
    add_problem(fmt::format("lowbank.json names layer '{}', which the model does not have", path));
  }
  if (!problems_.empty()) throw_problems();
}

std::uint64_t FileWeights::loaded_bytes() const {
  std::uint64_t total = 0;
  for (const auto& [name, source] : sources_) {
    total += source.entry->size_bytes /
             static_cast<std::uint64_t>(block_bytes(source.entry->type)) * c10::elementSize(type_);
  }
  return total;
}

void FileWeights::add_problem(std::string text) {
  // Ends early, so that a config.json with absurd sizes stops here and not in memory.
  if (problems_.size() == kMaxProblems) throw_problems();
  problems_.push_back(std::move(text));
}

void FileWeights::throw_problems() const {
  throw IoError(fmt::format("{}: the tensors do not fit config.json: {}{}", folder_,
                            fmt::join(problems_, "; "),
                            problems_.size() == kMaxProblems ? "; and perhaps more" : ""));
}

torch::Tensor RandomWeights::values(const ParameterSpec& parameter) {
  const auto& shape = parameter.shape;
  // There is no memory to draw into.
  if (device_.is_meta()) return at::empty(shape, at::TensorOptions(type_).device(device_));
  const auto options = at::TensorOptions(c10::kFloat);
  const auto finish = [&](const torch::Tensor& values) { return values.to(device_, type_); };
  const RandomKey key = key_.derive(parameter.name);
  const auto uniform = [&] {
    auto values = at::empty(shape, options);
    fill_uniform({values.data_ptr<float>(), static_cast<std::size_t>(values.numel())}, key);
    return values;
  };
  switch (parameter.initialisation) {
    case Initialisation::kOnes:
      return finish(at::ones(shape, options));
    case Initialisation::kZeros:
      return finish(at::zeros(shape, options));
    case Initialisation::kLogOfColumn:
      return finish(at::arange(1, shape[1] + 1, options).log().repeat({shape[0], 1}));
    case Initialisation::kUniformFanIn: {
      const double bound = 1.0 / std::sqrt(static_cast<double>(shape.back()));
      return finish(uniform().mul_(2.0 * bound).sub_(bound));
    }
    case Initialisation::kTimeStep: {
      const auto steps = uniform().mul_(std::log(100.0)).add_(std::log(0.001)).exp_();
      return finish(steps.expm1().log_());  // softplus makes the step of it again
    }
    case Initialisation::kNormal:
      break;
  }
  auto values = at::empty(shape, options);
  float* const data = values.data_ptr<float>();
  at::parallel_for(0, values.numel(), 1 << 16, [&](std::int64_t begin, std::int64_t end) {
    fill_normal({data + begin, data + end}, key, static_cast<std::uint64_t>(begin));
  });
  return finish(values.mul_(deviation_));
}

}  // namespace lowbank
