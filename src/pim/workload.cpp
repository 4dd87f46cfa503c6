#include "pim/workload.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/json.h"
#include "core/suggest.h"
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

// An object of the file, its place ("w.json: decode[3] 'lm_head'") and its keys still unread.
class ObjectReader {
 public:
  ObjectReader(const Json& object, std::string where) : object_(object), where_(std::move(where)) {
    if (!object_.is_object()) throw IoError(where_ + ": must be a JSON object");
  }
  void set_where(std::string where) { where_ = std::move(where); }
  const std::string& where() const { return where_; }

  const Json* find(const std::string& key) {
    known_.push_back(key);
    const auto it = object_.find(key);
    return it == object_.end() ? nullptr : &*it;
  }
  const Json& require(const std::string& key) {
    const Json* const value = find(key);
    if (value == nullptr) throw IoError(fmt::format("{}: key '{}' is missing", where_, key));
    return *value;
  }
  std::string text(const std::string& key) {
    const Json& value = require(key);
    if (!value.is_string()) throw IoError(fmt::format("{}: {}: must be a string", where_, key));
    return value.get<std::string>();
  }
  std::int64_t whole(const std::string& key, std::int64_t low, std::int64_t high) {
    const Json& value = require(key);
    if (!value.is_number_integer()) {
      throw IoError(fmt::format("{}: {}: must be a whole number", where_, key));
    }
    const bool too_large = value.is_number_unsigned() &&
                           value.get<std::uint64_t>() >
                               static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    const std::int64_t number = too_large ? 0 : value.get<std::int64_t>();
    if (too_large || number < low || number > high) {
      throw ConfigError(
          fmt::format("{}: {}: must be in [{}, {}]; got {}", where_, key, low, high, value.dump()));
    }
    return number;
  }
  double number(const std::string& key, double low, double high) {
    const Json& value = require(key);
    if (!value.is_number()) throw IoError(fmt::format("{}: {}: must be a number", where_, key));
    const double number = value.get<double>();
    if (!(number >= low && number <= high)) {  // also refuses what is not a number
      throw ConfigError(
          fmt::format("{}: {}: must be in [{}, {}]; got {}", where_, key, low, high, value.dump()));
    }
    return number;
  }
  void refuse_other_keys() const {
    for (const auto& [key, value] : object_.items()) {
      if (std::find(known_.begin(), known_.end(), key) == known_.end()) {
        throw ConfigError(
            fmt::format("{}: unknown key '{}'{}", where_, key, did_you_mean(key, known_)));
      }
    }
  }

 private:
  const Json& object_;
  std::string where_;
  std::vector<std::string> known_;
};

constexpr double kMaxBytes = 1e18;
constexpr std::size_t kMaxFormatLength = 32;

void check_product(const Operator& op, const std::string& where) {
  std::int64_t product = op.m;
  const bool overflows =
      __builtin_mul_overflow(product, op.n, &product) ||
      __builtin_mul_overflow(product, std::max<std::int64_t>(op.k, 1), &product) ||
      __builtin_mul_overflow(product, op.count, &product) ||
      (keeps_state(op.kind) && __builtin_mul_overflow(product, 2, &product));
  if (overflows) {
    throw ConfigError(
        fmt::format("{}: m x n x k x count = {} x {} x {} x {} does not fit in 63 bits", where,
                    op.m, op.n, op.k, op.count));
  }
}

Operator operator_from_json(const Json& object, const std::string& place, std::int64_t num_layers) {
  ObjectReader reader(object, place);
  Operator op;
  op.name = reader.text("name");
  reader.set_where(fmt::format("{} '{}'", place, op.name));

  const std::string kind = reader.text("kind");
  const auto found = std::find_if(kKindNames.begin(), kKindNames.end(),
                                  [&](const auto& entry) { return kind == entry.second; });
  if (found == kKindNames.end()) {
    std::vector<std::string> names;
    for (const auto& entry : kKindNames) names.emplace_back(entry.second);
    throw ConfigError(fmt::format("{}: kind: must be one of {}; got '{}'{}", reader.where(),
                                  fmt::join(names, ", "), kind, did_you_mean(kind, names)));
  }
  op.kind = found->first;
  op.layer = reader.whole("layer", -1, num_layers - 1);
  op.group = reader.text("group");
  op.m = reader.whole("m", 1, kMaxDimension);
  op.n = reader.whole("n", 1, kMaxDimension);
  op.k = reader.whole("k", has_contraction(op.kind) ? 1 : 0,
                      has_contraction(op.kind) ? kMaxDimension : 0);
  op.count = reader.whole("count", 1, kMaxDimension);
  if (reader.find("queries_per_cache") != nullptr) {
    op.queries_per_cache = reader.whole("queries_per_cache", 1, kMaxDimension);
    const bool is_product = op.kind == OperatorKind::kScore || op.kind == OperatorKind::kAttend;
    if (!is_product || op.count % op.queries_per_cache != 0) {
      throw ConfigError(fmt::format(
          "{}: queries_per_cache: must divide count, on a score or attend; got {} and a count of "
          "{}",
          reader.where(), op.queries_per_cache, op.count));
    }
  }
  op.weight_bytes = reader.number("weight_bytes", 0, kMaxBytes);
  op.activation_bytes = reader.number("activation_bytes", 0, kMaxBytes);
  if (reader.find("weight_format") != nullptr) {
    op.weight_format = reader.text("weight_format");
    if (op.kind != OperatorKind::kLinear || !(op.weight_bytes > 0) || op.weight_format.empty() ||
        op.weight_format.size() > kMaxFormatLength) {
      throw ConfigError(
          fmt::format("{}: weight_format: must be a name of 1 to {} characters, on a linear with "
                      "weight_bytes; got '{}'",
                      reader.where(), kMaxFormatLength, op.weight_format));
    }
  }
  if (reader.find("factored_as") != nullptr) {
    op.factored_as = reader.text("factored_as");
    const bool is_tiled = op.factored_as == "tile_svd";
    if ((op.factored_as != "svd" && !is_tiled) || op.kind != OperatorKind::kLinear) {
      throw ConfigError(
          fmt::format("{}: factored_as: must be 'svd' or 'tile_svd', on a linear; got '{}'",
                      reader.where(), op.factored_as));
    }
    op.stage = reader.whole("stage", 0, 1);
    op.rank = reader.whole("rank", 1, kMaxDimension);
    const std::int64_t inner = op.stage == 0 ? op.n : op.k;
    if (is_tiled) {
      op.tile = reader.whole("tile", 1, kMaxDimension);
      const std::int64_t outer = op.stage == 0 ? op.k : op.n;
      if (outer != op.tile || inner % op.rank != 0) {
        throw ConfigError(fmt::format(
            "{}: tile: stage {} must have {} = tile and {} a multiple of rank; got {}, {}, tile {} "
            "and rank {}",
            reader.where(), op.stage, op.stage == 0 ? 'k' : 'n', op.stage == 0 ? 'n' : 'k', outer,
            inner, op.tile, op.rank));
      }
    } else if (inner != op.rank) {
      throw ConfigError(fmt::format("{}: rank: stage {} must have {} = rank; got {} and rank {}",
                                    reader.where(), op.stage, op.stage == 0 ? 'n' : 'k', inner,
                                    op.rank));
    }
  }
  reader.refuse_other_keys();
  check_product(op, reader.where());
  return op;
}

std::vector<Operator> operators_from_json(const Json& list, const std::string& where,
                                          std::int64_t num_layers) {
  if (!list.is_array()) throw IoError(where + ": must be an array of operators");
  std::vector<Operator> operators;
  operators.reserve(list.size());
  std::int64_t macs = 0;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::string place = fmt::format("{}[{}]", where, i);
    Operator op = operator_from_json(list[i], place, num_layers);
    const Operator* const before = operators.empty() ? nullptr : &operators.back();
    const bool opened = before != nullptr && !before->factored_as.empty() && before->stage == 0;
    const bool closes = !op.factored_as.empty() && op.stage == 1;
    if (opened != closes || (closes && (before->name != op.name || before->rank != op.rank))) {
      throw ConfigError(fmt::format(
          "{} '{}': stage: the two products of a factored layer stand in order and together, "
          "stage 0 then stage 1",
          place, op.name));
    }
    if (closes && (before->tile != op.tile || (op.tile > 0 && (before->n / op.rank != op.count ||
                                                               op.k / op.rank != before->count)))) {
      throw ConfigError(fmt::format(
          "{} '{}': tile: the two stages must tell of the same tiles: stage 0 in / tile "
          "products to out / tile x rank, stage 1 out / tile of in / tile x rank",
          place, op.name));
    }
    if (__builtin_add_overflow(macs, op.macs(), &macs)) {
      throw ConfigError(
          fmt::format("{}: the sum of m x n x k x count does not fit in 63 bits", where));
    }
    operators.push_back(std::move(op));
  }
  if (!operators.empty() && !operators.back().factored_as.empty() && operators.back().stage == 0) {
    throw ConfigError(fmt::format("{}[{}] '{}': stage: the second product, stage 1, is missing",
                                  where, operators.size() - 1, operators.back().name));
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

Workload workload_from_json(const std::string& text, const std::string& source) {
  const Json document = parse_json(text, source);
  ObjectReader reader(document, source);
  if (reader.text("format") != kFormatName) {
    throw IoError(
        fmt::format("{}: format: must be '{}'; is this a workload file?", source, kFormatName));
  }
  const std::int64_t revision =
      reader.whole("revision", 1, std::numeric_limits<std::int64_t>::max());
  if (revision > Workload::kRevision) {
    throw ConfigError(fmt::format(
        "{}: revision: this program reads workloads up to revision {}; got {}; export the workload "
        "again or use a newer Lowbank",
        source, Workload::kRevision, revision));
  }
  Workload workload;
  workload.model = reader.text("model");
  workload.batch = reader.whole("batch", 1, kMaxDimension);
  workload.context = reader.whole("context", 1, kMaxDimension);
  std::int64_t tokens = 0;
  if (__builtin_mul_overflow(workload.batch, workload.context, &tokens)) {
    throw ConfigError(fmt::format("{}: batch x context = {} x {} does not fit in 63 bits", source,
                                  workload.batch, workload.context));
  }
  workload.num_params = reader.whole("num_params", 0, std::numeric_limits<std::int64_t>::max());
  workload.num_layers = reader.whole("num_layers", 0, kMaxDimension);
  workload.weight_bits = reader.number("weight_bits", 0.1, 64);
  if (const Json* const list = reader.find("prefill")) {
    workload.prefill = operators_from_json(*list, source + ": prefill", workload.num_layers);
  }
  if (const Json* const list = reader.find("decode")) {
    workload.decode = operators_from_json(*list, source + ": decode", workload.num_layers);
  }
  reader.refuse_other_keys();
  if (workload.prefill.empty() && workload.decode.empty()) {
    throw ConfigError(source + ": has no operators, neither `prefill` nor `decode`");
  }
  return workload;
}

Workload read_workload(const std::string& path) {
  return workload_from_json(read_text(path), path);
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
