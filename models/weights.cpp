#include "models/weights.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "nn/dense_linear.h"
#include "nn/svd_linear.h"
#include "nn/tensor_file.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kMaxProblems = 20;

bool is_float(ElementType type) {
  return type == ElementType::kF16 || type == ElementType::kBf16 || type == ElementType::kF32 ||
         type == ElementType::kF64;
}

// One pass without a temporary: a NaN or an infinity survives any sum. A sum may also overflow on
// its own, hence the exact second look.
bool all_finite(const torch::Tensor& values) {
  const auto sum = values.sum(values.scalar_type() == c10::kDouble ? c10::kDouble : c10::kFloat);
  return at::isfinite(sum).item<bool>() || at::isfinite(values).all().item<bool>();
}

// Tensor names by shard, from model.safetensors.index.json.
std::map<std::string, std::vector<std::string>> read_shards(const std::string& path) {
  const auto index = read_json(path);
  const auto map = index.is_object() ? index.find("weight_map") : index.end();
  if (!index.is_object() || map == index.end() || !map->is_object()) {
    throw IoError(path + ": has no object 'weight_map'");
  }
  std::map<std::string, std::vector<std::string>> shards;
  for (const auto& [name, file] : map->items()) {
    const std::string shard = file.is_string() ? file.get<std::string>() : "";
    if (shard.empty() || shard.find('/') != std::string::npos || shard == "." || shard == "..") {
      throw IoError(fmt::format("{}: weight_map: '{}' names no file of this folder", path, name));
    }
    shards[shard].push_back(name);
  }
  return shards;
}

}  // namespace

std::shared_ptr<Linear> make_linear(Weights& weights, const std::string& path,
                                    std::int64_t in_features, std::int64_t out_features,
                                    bool has_bias) {
  const auto take_bias = [&] {
    return has_bias ? weights.take(path + ".bias", {out_features}) : torch::Tensor();
  };
  const std::int64_t rank = weights.factored_rank(path, std::min(in_features, out_features));
  if (rank == 0) {
    auto weight = weights.take(path + ".weight", {out_features, in_features});
    return std::make_shared<DenseLinear>(std::move(weight), take_bias());
  }
  auto u = weights.take(path + ".u", {out_features, rank});
  auto s = weights.take(path + ".s", {rank});
  auto vh = weights.take(path + ".vh", {rank, in_features});
  return std::make_shared<SvdLinear>(std::move(u), std::move(s), std::move(vh), take_bias());
}

FileWeights::FileWeights(const std::string& folder, const CheckpointMeta& meta, c10::Device device,
                         c10::ScalarType type)
    : folder_(folder), device_(device), type_(type) {
  const std::string whole = (fs::path(folder) / "model.safetensors").string();
  const std::string index = (fs::path(folder) / "model.safetensors.index.json").string();
  if (fs::exists(whole)) {
    open_file(whole, nullptr);
  } else if (fs::exists(index)) {
    for (const auto& [shard, names] : read_shards(index)) {
      open_file((fs::path(folder) / shard).string(), &names);
    }
  } else {
    throw IoError(folder +
                  ": has config.json but no model.safetensors (other formats: `lowbank convert`)");
  }
  for (const auto& record : meta.linears) {
    if (record.kind == "dense") continue;
    if (record.kind != "svd") {
      throw IoError(
          fmt::format("{}/lowbank.json: layer '{}' is of kind '{}'; this Lowbank knows "
                      "dense and svd",
                      folder, record.path, record.kind));
    }
    ranks_.emplace(record.path, record.rank);
  }
}

void FileWeights::open_file(const std::string& path, const std::vector<std::string>* names) {
  const auto file = SafetensorsFile::open(path);
  if (names == nullptr) {
    for (const auto& entry : file->entries()) {
      sources_[entry.name] = {.file = file, .entry = &entry};
    }
    return;
  }
  for (const auto& name : *names) {
    const TensorEntry* entry = file->find(name);
    if (entry == nullptr) {
      throw IoError(fmt::format("{}: has no tensor '{}', which the index promises", path, name));
    }
    sources_[name] = {.file = file, .entry = entry};
  }
}

torch::Tensor FileWeights::take(const std::string& name, const std::vector<std::int64_t>& shape) {
  // A shape without values: no memory for what no file backs.
  const auto placeholder = [&] {
    return at::empty(shape, at::TensorOptions(type_).device(c10::kMeta));
  };
  const auto found = sources_.find(name);
  if (found == sources_.end()) {
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
  auto values = view_tensor(source.file, *source.entry)
                    .to(type_, /*non_blocking=*/false,
                        /*copy=*/true);
  if (!all_finite(values)) {
    add_problem(fmt::format("'{}' has values that are not finite (NaN or infinity)", name));
  }
  return values.to(device_);
}

std::int64_t FileWeights::factored_rank(const std::string& path, std::int64_t max_rank) {
  const auto found = ranks_.find(path);
  if (found == ranks_.end()) return 0;
  const std::int64_t rank = found->second;
  ranks_.erase(found);
  if (rank < 1 || rank > max_rank) {
    throw IoError(fmt::format("{}/lowbank.json: layer '{}' has rank {}, allowed are 1 to {}",
                              folder_, path, rank, max_rank));
  }
  return rank;
}

void FileWeights::tie(const std::string& name, const std::string& original) {
  const auto copy = sources_.find(name);
  if (copy == sources_.end()) return;
  copy->second.taken = true;
  const auto kept = sources_.find(original);
  if (kept == sources_.end()) return;  // reported as missing by take()
  const auto view = [](const Source& source) { return view_tensor(source.file, *source.entry); };
  if (copy->second.entry->shape != kept->second.entry->shape ||
      copy->second.entry->type != kept->second.entry->type ||
      !at::equal(view(copy->second), view(kept->second))) {
    add_problem(
        fmt::format("'{}' differs from '{}', although config.json ties them", name, original));
  }
}

void FileWeights::finish() {
  for (const auto& [name, source] : sources_) {
    // Written by transformers before 4.32; computed from rope_theta since.
    if (source.taken || name.ends_with("rotary_emb.inv_freq")) continue;
    add_problem(fmt::format("'{}' [{}] has no place in the model", name,
                            fmt::join(source.entry->shape, ", ")));
  }
  for (const auto& [path, rank] : ranks_) {
    add_problem(fmt::format("lowbank.json names layer '{}', which the model does not have", path));
  }
  if (!problems_.empty()) throw_problems();
}

std::uint64_t FileWeights::loaded_bytes() const {
  std::uint64_t total = 0;
  for (const auto& [name, source] : sources_) {
    total += source.entry->size_bytes /
             static_cast<std::uint64_t>(element_size_bytes(source.entry->type)) *
             c10::elementSize(type_);
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

torch::Tensor RandomWeights::take(const std::string& name, const std::vector<std::int64_t>& shape) {
  const auto options = at::TensorOptions(c10::kFloat);
  if (name.ends_with(".bias")) return at::zeros(shape, options).to(device_, type_);
  if (name.ends_with("norm.weight")) return at::ones(shape, options).to(device_, type_);
  auto values = at::empty(shape, options);
  const RandomKey key = key_.derive(name);
  float* const data = values.data_ptr<float>();
  at::parallel_for(0, values.numel(), 1 << 16, [&](std::int64_t begin, std::int64_t end) {
    fill_normal({data + begin, data + end}, key, static_cast<std::uint64_t>(begin));
  });
  return values.mul_(deviation_).to(device_, type_);
}

}  // namespace lowbank
