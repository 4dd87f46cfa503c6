#include "pim/workload.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/json.h"
#include "core/json_reader.h"
#include "core/text.h"

namespace lowbank::pim {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kFormatName = "lowbank-workload";

constexpr std::array<std::pair<OperatorKind, const char*>, 10> kKindNames = {{
    {OperatorKind::kLinear, "linear"},
    {OperatorKind::kScore, "score"},
    {OperatorKind::kAttend, "attend"},
    {OperatorKind::kSoftmax, "softmax"},
    {OperatorKind::kNorm, "norm"},
    {OperatorKind::kActivation, "activation"},
    {OperatorKind::kEmbedding, "embedding"},
    {OperatorKind::kConv, "conv"},
    {OperatorKind::kScan, "scan"},
    {OperatorKind::kStateUpdate, "state_update"},
}};

std::string kind_name(OperatorKind kind) {
  for (const auto& [value, name] : kKindNames) {
    if (value == kind) return name;
  }
  return "";
}

bool has_contraction(OperatorKind kind) {
  return kind == OperatorKind::kLinear || kind == OperatorKind::kScore ||
         kind == OperatorKind::kAttend || kind == OperatorKind::kConv || keeps_state(kind);
}

// A file that is corrupt is nobody's fault; a shape that cannot be is its author's.
constexpr JsonRules kRules{.blame = JsonRules::Blame::kFileThenUser, .null_is_absent = false};

constexpr double kMaxBytes = 1e18;
constexpr std::size_t kMaxFormatLength = 32;

void check_product(const Operator& op, const JsonReader& reader) {
  std::int64_t product = op.m;
  const bool overflows =
      __builtin_mul_overflow(product, op.n, &product) ||
      __builtin_mul_overflow(product, std::max<std::int64_t>(op.k, 1), &product) ||
      __builtin_mul_overflow(product, op.count, &product) ||
      (keeps_state(op.kind) && __builtin_mul_overflow(product, 2, &product));
  if (overflows) {
    reader.reject(fmt::format("m x n x k x count = {} x {} x {} x {} does not fit in 63 bits", op.m,
                              op.n, op.k, op.count));
  }
}

OperatorKind read_operator_kind(const JsonReader& reader) {
  std::vector<std::string> names;
  for (const auto& entry : kKindNames) names.emplace_back(entry.second);
  return kKindNames[reader.choice("kind", names)].first;
}

// Names are shown in tables and errors, where a control character has nothing to say.
std::string read_name(const JsonReader& reader, std::string_view key) {
  std::string name = reader.text(key);
  if (printable(name) != name) {
    reader.at(key).reject(
        fmt::format("must hold no control characters and no line ends; got '{}'", printable(name)));
  }
  return name;
}

Operator read_operator(const JsonReader& unnamed, std::int64_t num_layers) {
  Operator op;
  op.name = read_name(unnamed, "name");
  const JsonReader reader = unnamed.named(op.name);
  op.kind = read_operator_kind(reader);
  op.layer = reader.integer("layer", -1, num_layers - 1);
  op.group = read_name(reader, "group");
  op.m = reader.integer("m", 1, kMaxDimension);
  op.n = reader.integer("n", 1, kMaxDimension);
  op.k = reader.integer("k", has_contraction(op.kind) ? 1 : 0,
                        has_contraction(op.kind) ? kMaxDimension : 0);
  op.count = reader.integer("count", 1, kMaxDimension);
  if (reader.has("queries_per_cache")) {
    op.queries_per_cache = reader.integer("queries_per_cache", 1, kMaxDimension);
    const bool is_product = op.kind == OperatorKind::kScore || op.kind == OperatorKind::kAttend;
    if (!is_product || op.count % op.queries_per_cache != 0) {
      reader.at("queries_per_cache")
          .reject(fmt::format("must divide count, on a score or attend; got {} and a count of {}",
                              op.queries_per_cache, op.count));
    }
  }
  op.weight_bytes = reader.number("weight_bytes", 0, kMaxBytes);
  op.activation_bytes = reader.number("activation_bytes", 0, kMaxBytes);
  if (reader.has("weight_format")) {
    op.weight_format = reader.text("weight_format");
    if (op.kind != OperatorKind::kLinear || !(op.weight_bytes > 0) || op.weight_format.empty() ||
        op.weight_format.size() > kMaxFormatLength) {
      reader.at("weight_format")
          .reject(fmt::format("must be a name of 1 to {} characters, on a linear with "
                              "weight_bytes; got '{}'",
                              kMaxFormatLength, op.weight_format));
    }
  }
  std::vector<std::string> keys = {"name",
                                   "kind",
                                   "layer",
                                   "group",
                                   "m",
                                   "n",
                                   "k",
                                   "count",
                                   "queries_per_cache",
                                   "weight_bytes",
                                   "activation_bytes",
                                   "weight_format",
                                   "factored_as"};
  if (reader.has("factored_as")) {
    keys.insert(keys.end(), {"stage", "rank"});
    op.factored_as = reader.text("factored_as");
    const bool is_tiled = op.factored_as == "tile_svd";
    if ((op.factored_as != "svd" && !is_tiled) || op.kind != OperatorKind::kLinear) {
      reader.at("factored_as")
          .reject(
              fmt::format("must be 'svd' or 'tile_svd', on a linear; got '{}'", op.factored_as));
    }
    op.stage = reader.integer("stage", 0, 1);
    op.rank = reader.integer("rank", 1, kMaxDimension);
    const std::int64_t inner = op.stage == 0 ? op.n : op.k;
    if (is_tiled) {
      keys.emplace_back("tile");
      op.tile = reader.integer("tile", 1, kMaxDimension);
      const std::int64_t outer = op.stage == 0 ? op.k : op.n;
      if (outer != op.tile || inner % op.rank != 0) {
        reader.at("tile").reject(fmt::format(
            "stage {} must have {} = tile and {} a multiple of rank; got {}, {}, tile {} and rank "
            "{}",
            op.stage, op.stage == 0 ? 'k' : 'n', op.stage == 0 ? 'n' : 'k', outer, inner, op.tile,
            op.rank));
      }
    } else if (inner != op.rank) {
      reader.at("rank").reject(fmt::format("stage {} must have {} = rank; got {} and rank {}",
                                           op.stage, op.stage == 0 ? 'n' : 'k', inner, op.rank));
    }
  }
  reader.check_keys(keys);
  check_product(op, reader);
  return op;
}

std::vector<Operator> read_operators(const JsonReader& document, const char* phase,
                                     std::int64_t num_layers) {
  std::vector<Operator> operators;
  if (!document.has(phase)) return operators;
  const JsonReader list = document.at(phase);
  operators.reserve(list.size());
  std::int64_t macs = 0;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const JsonReader entry = list.at(i);
    Operator op = read_operator(entry, num_layers);
    const auto reject_stages = [&](const char* what) { entry.named(op.name).reject(what); };
    const Operator* const before = operators.empty() ? nullptr : &operators.back();
    const bool opened = before != nullptr && !before->factored_as.empty() && before->stage == 0;
    const bool closes = !op.factored_as.empty() && op.stage == 1;
    if (opened != closes || (closes && (before->name != op.name || before->rank != op.rank))) {
      reject_stages(
          "stage: the two products of a factored layer stand in order and together, stage 0 then "
          "stage 1");
    }
    if (closes && (before->tile != op.tile || (op.tile > 0 && (before->n / op.rank != op.count ||
                                                               op.k / op.rank != before->count)))) {
      reject_stages(
          "tile: the two stages must tell of the same tiles: stage 0 in / tile products to out / "
          "tile x rank, stage 1 out / tile of in / tile x rank");
    }
    if (__builtin_add_overflow(macs, op.macs(), &macs)) {
      list.reject("the sum of m x n x k x count does not fit in 63 bits");
    }
    operators.push_back(std::move(op));
  }
  if (!operators.empty() && !operators.back().factored_as.empty() && operators.back().stage == 0) {
    list.at(operators.size() - 1)
        .named(operators.back().name)
        .reject("stage: the second product, stage 1, is missing");
  }
  return operators;
}

Json operators_to_json(const std::vector<Operator>& operators) {
  Json list = Json::array();
  for (const auto& op : operators) {
    Json object = {{"name", op.name},
                   {"kind", kind_name(op.kind)},
                   {"layer", op.layer},
                   {"group", op.group},
                   {"m", op.m},
                   {"n", op.n},
                   {"k", op.k},
                   {"count", op.count},
                   {"weight_bytes", op.weight_bytes},
                   {"activation_bytes", op.activation_bytes}};
    if (op.queries_per_cache != 1) object["queries_per_cache"] = op.queries_per_cache;
    if (!op.factored_as.empty()) {
      object["factored_as"] = op.factored_as;
      object["stage"] = op.stage;
      object["rank"] = op.rank;
      if (op.tile > 0) object["tile"] = op.tile;
    }
    if (!op.weight_format.empty()) object["weight_format"] = op.weight_format;
    list.push_back(std::move(object));
  }
  return list;
}

}  // namespace

std::string phase_name(Phase phase) { return phase == Phase::kPrefill ? "prefill" : "decode"; }

bool Workload::is_causal() const {
  return !decode.empty() || std::none_of(prefill.begin(), prefill.end(), [](const Operator& op) {
    return op.name.find("encoder.layer") != std::string::npos;
  });
}

Workload workload_from_json(const std::string& text, const std::string& source) {
  const JsonReader reader(parse_json(text, source), source, kRules);
  if (reader.text("format") != kFormatName) {
    reader.at("format").fail(fmt::format("must be '{}'; is this a workload file?", kFormatName));
  }
  constexpr std::int64_t kAny = std::numeric_limits<std::int64_t>::max();
  const std::int64_t revision = reader.integer("revision", 1, kAny);
  if (revision > Workload::kRevision) {
    reader.at("revision")
        .reject(fmt::format(
            "this program reads workloads up to revision {}; got {}; export the workload "
            "again or use a newer Lowbank",
            Workload::kRevision, revision));
  }
  Workload workload;
  workload.model = read_name(reader, "model");
  workload.batch = reader.integer("batch", 1, kMaxDimension);
  workload.context = reader.integer("context", 1, kMaxDimension);
  std::int64_t tokens = 0;
  if (__builtin_mul_overflow(workload.batch, workload.context, &tokens)) {
    reader.reject(fmt::format("batch x context = {} x {} does not fit in 63 bits", workload.batch,
                              workload.context));
  }
  workload.num_params = reader.integer("num_params", 0, kAny);
  workload.num_layers = reader.integer("num_layers", 0, kMaxDimension);
  workload.weight_bits = reader.number("weight_bits", 0.1, 64);
  workload.prefill = read_operators(reader, "prefill", workload.num_layers);
  workload.decode = read_operators(reader, "decode", workload.num_layers);
  reader.check_keys({"format", "revision", "model", "batch", "context", "num_params", "num_layers",
                     "weight_bits", "prefill", "decode"});
  if (workload.prefill.empty() && workload.decode.empty()) {
    reader.reject("has no operators, neither `prefill` nor `decode`");
  }
  return workload;
}

Workload read_workload(const std::string& path) {
  return workload_from_json(read_regular_text(path), path);
}

std::string workload_to_json(const Workload& workload) {
  Json document = {{"format", kFormatName},
                   {"revision", Workload::kRevision},
                   {"model", workload.model},
                   {"batch", workload.batch},
                   {"context", workload.context},
                   {"num_params", workload.num_params},
                   {"num_layers", workload.num_layers},
                   {"weight_bits", workload.weight_bits}};
  if (!workload.prefill.empty()) document["prefill"] = operators_to_json(workload.prefill);
  if (!workload.decode.empty()) document["decode"] = operators_to_json(workload.decode);
  return dump_json(document);
}

}  // namespace lowbank::pim
