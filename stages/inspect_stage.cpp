#include "stages/inspect_stage.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/interrupt.h"
#include "core/json.h"
#include "core/json_reader.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/text.h"
#include "io/checkpoint_meta.h"
#include "io/gguf.h"
#include "io/safetensors.h"
#include "io/value_stream.h"

namespace lowbank {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using Entries = std::span<const TensorEntry>;

std::int64_t num_elements(const TensorEntry& entry) {
  return static_cast<std::int64_t>(entry.size_bytes) / block_bytes(entry.type) *
         block_elements(entry.type);
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// "layers.2" before "layers.10".
bool natural_less(std::string_view a, std::string_view b) {
  std::size_t i = 0;
  std::size_t j = 0;
  while (i < a.size() && j < b.size()) {
    if (is_digit(a[i]) && is_digit(b[j])) {
      const std::size_t from_i = i;
      const std::size_t from_j = j;
      while (i < a.size() && is_digit(a[i])) ++i;
      while (j < b.size() && is_digit(b[j])) ++j;
      const auto number_a = a.substr(from_i, i - from_i);
      const auto number_b = b.substr(from_j, j - from_j);
      if (number_a.size() != number_b.size()) return number_a.size() < number_b.size();
      if (number_a != number_b) return number_a < number_b;
    } else if (a[i] != b[j]) {
      return a[i] < b[j];
    } else {
      ++i;
      ++j;
    }
  }
  return a.size() - i < b.size() - j;
}

// An embedding is a matrix too, but it is a table: nothing is multiplied by it.
bool is_embedding(std::string_view path) {
  const auto name = path.substr(path.rfind('.') + 1);
  for (const auto* part : {"embed", "embd", "wte", "wpe", "token_types"}) {
    if (name.find(part) != std::string_view::npos) return true;
  }
  return false;
}

std::string pad(const std::string& text, std::size_t width, bool right) {
  return right ? fmt::format("{:>{}}", text, width) : fmt::format("{:<{}}", text, width);
}

// Columns are as wide as their longest cell. Columns from `first_number` on are numbers and aligned
// to the right.
void print_table(std::vector<std::vector<std::string>> rows, std::size_t first_number) {
  for (auto& row : rows) {
    for (auto& cell : row) cell = printable(cell);  // before its width is taken
  }
  std::vector<std::size_t> widths(rows.front().size());
  for (const auto& row : rows) {
    for (std::size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  }
  for (const auto& row : rows) {
    std::string line;
    for (std::size_t c = 0; c < row.size(); ++c) {
      line += (c > 0 ? "  " : "") + pad(row[c], widths[c], c >= first_number);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    print_line(line);
  }
}

void print_linears(const std::vector<LinearSummary>& linears) {
  std::vector<std::vector<std::string>> rows = {
      {"path", "kind", "out", "in", "rank", "parameters", "bytes"}};
  for (const auto& linear : linears) {
    rows.push_back({linear.path, linear.kind, group_digits(linear.out_features),
                    group_digits(linear.in_features), group_digits(linear.rank),
                    group_digits(linear.num_params), group_digits(linear.size_bytes)});
  }
  print_table(std::move(rows), 2);
}

void print_tensors(Entries entries) {
  std::vector<std::vector<std::string>> rows = {{"tensor", "type", "shape", "bytes"}};
  for (const auto& entry : entries) {
    rows.push_back({entry.name, std::string(element_type_name(entry.type)),
                    fmt::format("[{}]", fmt::join(entry.shape, ", ")),
                    group_digits(static_cast<std::int64_t>(entry.size_bytes))});
  }
  print_table(std::move(rows), 3);
}

void print_history(const CheckpointMeta& meta) {
  if (meta.history.empty()) {
    print("no history: the checkpoint was not made by Lowbank");
    return;
  }
  std::vector<std::vector<std::string>> rows = {{"stage", "version", "settings"}};
  for (const auto& entry : meta.history) {
    rows.push_back({entry.stage, entry.version, entry.settings_hash});
  }
  print_table(std::move(rows), 3);
}

// "34 dense", "1 dense, 35 svd of rank 8 to 32".
std::string describe_linears(const std::vector<LinearSummary>& linears) {
  std::map<std::string, std::vector<std::int64_t>> ranks;
  for (const auto& linear : linears) ranks[linear.kind].push_back(linear.rank);
  std::string text;
  for (const auto& [kind, of_kind] : ranks) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", of_kind.size(), kind);
    const auto [low, high] = std::minmax_element(of_kind.begin(), of_kind.end());
    if (kind.starts_with("dense") || *high == 0) continue;
    text += *low == *high ? fmt::format(" of rank {}", *low)
                          : fmt::format(" of rank {} to {}", *low, *high);
  }
  return text.empty() ? "none" : text;
}

std::string describe_types(Entries entries) {
  std::map<std::string_view, std::int64_t> counts;
  for (const auto& entry : entries) counts[element_type_name(entry.type)] += num_elements(entry);
  if (counts.size() == 1) return std::string(counts.begin()->first);
  std::string text;
  for (const auto& [name, count] : counts) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", group_digits(count), name);
  }
  return text;
}

// What lowbank.json knows of a slot, in the place of what its tensors look like.
void name_layers(const SlotRecord& slot, Entries entries, std::vector<LinearSummary>& linears) {
  auto found = std::find_if(linears.begin(), linears.end(),
                            [&](const LinearSummary& linear) { return linear.path == slot.path; });
  if (found == linears.end()) {
    found = linears.emplace(found);
    found->path = slot.path;
  }
  found->kind.clear();
  for (const auto& layer : slot.layers) {
    found->kind += (found->kind.empty() ? "" : "+") + layer.kind;
  }
  found->num_params = found->size_bytes = 0;
  for (const auto& entry : entries) {
    if (!entry.name.starts_with(slot.path + ".")) continue;
    found->num_params += num_elements(entry);
    found->size_bytes += static_cast<std::int64_t>(entry.size_bytes);
  }
}

// The tensors under the file's own names, dequantised to float32.
void write_floats(const TensorArchive& archive, const std::string& path) {
  std::vector<TensorEntry> tensors;
  for (const auto& entry : archive.entries()) {
    tensors.push_back({.name = entry.name, .type = ElementType::kF32, .shape = entry.shape});
  }
  SafetensorsWriter writer(path, std::move(tensors));
  ProgressBar bar("tensors", static_cast<std::int64_t>(writer.order().size()), "tensor");
  std::int64_t done = 0;
  for (const auto& tensor : writer.order()) {
    if (interrupt_requested()) throw Interrupted("stopped; nothing was written");
    bar.update(done++, tensor.name);
    stream_values(archive, *archive.find(tensor.name), ElementType::kF32,
                  [&](std::span<const std::byte> bytes) { writer.write(bytes); });
  }
  writer.commit();
}

}  // namespace

std::vector<LinearSummary> find_linears(Entries entries, std::span<const SlotRecord> slots) {
  std::map<std::string_view, const TensorEntry*> tensors;
  for (const auto& entry : entries) tensors[entry.name] = &entry;
  const auto find = [&](const std::string& name) -> const TensorEntry* {
    const auto found = tensors.find(name);
    return found == tensors.end() ? nullptr : found->second;
  };
  std::vector<LinearSummary> linears;
  for (const auto& [name, entry] : tensors) {
    const auto dot = name.rfind('.');
    if (dot == std::string_view::npos) continue;
    LinearSummary linear;
    linear.path = name.substr(0, dot);
    std::vector<const TensorEntry*> parts = {entry};
    if (name.substr(dot) == ".vh") {
      const auto* const u = find(linear.path + ".u");
      const auto* const s = find(linear.path + ".s");
      const bool fits = u != nullptr && s != nullptr && entry->shape.size() == 2 &&
                        u->shape.size() == 2 && s->shape.size() == 1 &&
                        u->shape[1] == s->shape[0] && s->shape[0] == entry->shape[0];
      if (!fits) continue;
      linear.kind = "svd";
      linear.out_features = u->shape[0];
      linear.rank = s->shape[0];
      parts.insert(parts.end(), {u, s});
    } else if (name.substr(dot) == ".weight" && entry->shape.size() == 2 &&
               !is_embedding(linear.path)) {
      linear.kind = "dense";
      linear.out_features = entry->shape[0];
      linear.rank = std::min(entry->shape[0], entry->shape[1]);
    } else {
      continue;
    }
    linear.in_features = entry->shape[1];
    if (const auto* const bias = find(linear.path + ".bias")) parts.push_back(bias);
    for (const auto* part : parts) {
      linear.num_params += num_elements(*part);
      linear.size_bytes += static_cast<std::int64_t>(part->size_bytes);
    }
    linears.push_back(std::move(linear));
  }
  for (const auto& slot : slots) name_layers(slot, entries, linears);
  std::sort(linears.begin(), linears.end(), [](const LinearSummary& a, const LinearSummary& b) {
    return natural_less(a.path, b.path);
  });
  return linears;
}

void inspect_stage(const InspectConfig& config, RunDir* /*out*/, Metrics& metrics) {
  const bool is_single_file = fs::is_regular_file(config.checkpoint);
  const std::string place =
      is_single_file ? config.checkpoint : resolve_checkpoint(config.checkpoint);
  std::string model_type;
  CheckpointMeta meta;
  std::shared_ptr<const TensorArchive> archive;
  if (is_single_file) {
    if (config.history) throw ConfigError("history: a single file has none; give its folder");
    archive = open_archive(place);
    if (const auto* const gguf = dynamic_cast<const GgufFile*>(archive.get())) {
      model_type = gguf->text("general.architecture", "");
    }
  } else {
    const std::string path = place + "/config.json";
    model_type = JsonReader(read_json(path), path, kProgramFile).text("model_type");
    meta = read_checkpoint_meta(place);
    archive = open_weights_folder(place);
  }
  std::int64_t num_params = 0;
  std::int64_t num_bytes = 0;
  const auto& entries = archive->entries();
  for (const auto& entry : entries) {
    num_params += num_elements(entry);
    num_bytes += static_cast<std::int64_t>(entry.size_bytes);
  }
  const std::vector<LinearSummary> linears = find_linears(entries, meta.linears);

  print("{}", place);
  if (!model_type.empty()) print("  model       {}", model_type);
  if (!meta.base_model.empty()) print("  base model  {}", meta.base_model);
  print("  parameters  {} in {} tensors ({})", group_digits(num_params), entries.size(),
        describe_types(entries));
  print("  size        {}", format_bytes(static_cast<std::uint64_t>(num_bytes)));
  print("  linears     {}", describe_linears(linears));
  if (config.linears) {
    print("");
    print_linears(linears);
  } else if (is_single_file) {
    print("");
    print_tensors(entries);
  }
  if (config.history) {
    print("");
    print_history(meta);
  }

  if (!config.tensors.empty()) {
    write_floats(*archive, config.tensors);
    print("");
    print("{}: {} tensors as F32", config.tensors, entries.size());
  }

  Json list = Json::array();
  for (const auto& linear : linears) {
    list.push_back({{"path", linear.path},
                    {"kind", linear.kind},
                    {"out", linear.out_features},
                    {"in", linear.in_features},
                    {"rank", linear.rank},
                    {"num_params", linear.num_params}});
  }
  metrics = {{"model_type", model_type},
             {"num_params", num_params},
             {"num_bytes", num_bytes},
             {"linears", list}};
}

}  // namespace lowbank
