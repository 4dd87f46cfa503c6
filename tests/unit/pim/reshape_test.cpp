#include "pim/reshape.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "core/error.h"
#include "error_text.h"
#include "pim/estimator.h"
#include "pim_samples.h"

namespace lowbank::pim {
namespace {

using ::testing::HasSubstr;
using testing::sample_workload;
using testing::SampleShape;

Workload with_bytes(const SampleShape& shape) {
  Workload workload = sample_workload(shape);
  for (auto* operators : {&workload.prefill, &workload.decode}) {
    for (Operator& op : *operators) {
      const auto area = [](std::int64_t a, std::int64_t b) { return static_cast<double>(a * b); };
      if (op.kind == OperatorKind::kScore || op.kind == OperatorKind::kAttend) {
        // Every fourth query head has its own cache.
        op.activation_bytes = 4 * (area(op.m, op.k) + area(op.m, op.n) + area(op.n, op.k) / 4);
      } else if (op.kind == OperatorKind::kSoftmax) {
        op.activation_bytes = 8 * area(op.m, op.n);
      } else if (op.kind == OperatorKind::kEmbedding) {
        op.weight_bytes = 4 * area(op.m, op.n);
      }
    }
  }
  return workload;
}

TEST(ReshapeTest, GivesWhatAnExportAtThatBatchAndContextGives) {
  for (const std::int64_t rank : {0, 7}) {
    const Workload from = with_bytes({.batch = 3, .context = 24, .rank = rank});
    for (const auto& [batch, context] :
         {std::pair<std::int64_t, std::int64_t>{1, 24}, {3, 1}, {5, 100}, {64, 1 << 20}}) {
      const Workload expected = with_bytes({.batch = batch, .context = context, .rank = rank});
      EXPECT_EQ(workload_to_json(reshape_workload(from, batch, context)),
                workload_to_json(expected))
          << batch << " x " << context;
    }
  }
}

TEST(ReshapeTest, ConvolutionsAndScansKeepTheirStatesForEachSequence) {
  const auto sized = [](std::int64_t batch, std::int64_t context) {
    Workload workload;
    workload.batch = batch;
    workload.context = context;
    workload.num_layers = 1;
    workload.weight_bits = 32;
    for (const Phase phase : {Phase::kPrefill, Phase::kDecode}) {
      const std::int64_t tokens = batch * (phase == Phase::kPrefill ? context : 1);
      // Of 10 channels: 4 taps, whose 3 inputs before are read and written; 16 states likewise.
      Operator conv = testing::other(OperatorKind::kConv, "conv", 0, tokens, 10, 4);
      conv.activation_bytes = 4.0 * static_cast<double>(2 * tokens * 10 + 2 * batch * 10 * 3);
      Operator scan = testing::other(OperatorKind::kScan, "scan", 0, tokens, 10, 16);
      scan.activation_bytes =
          4.0 * static_cast<double>(tokens * (3 * 10 + 2 * 16) + 2 * batch * 10 * 16);
      (phase == Phase::kPrefill ? workload.prefill : workload.decode) = {conv, scan};
    }
    return workload;
  };
  for (const auto& [batch, context] : {std::pair{1, 24}, {3, 1}, {5, 100}}) {
    EXPECT_EQ(workload_to_json(reshape_workload(sized(3, 24), batch, context)),
              workload_to_json(sized(batch, context)))
        << batch << " x " << context;
  }
}

TEST(ReshapeTest, RefusesAbsurdSizesAndWhatItCannotDerive) {
  const Workload workload = sample_workload({.batch = 2});
  EXPECT_THAT(lowbank::testing::error_text<ConfigError>([&] { reshape_workload(workload, 0, 8); }),
              HasSubstr("batch"));
  EXPECT_THAT(lowbank::testing::error_text<ConfigError>([&] { reshape_workload(workload, 1, -1); }),
              HasSubstr("context"));
  EXPECT_THAT(lowbank::testing::error_text<ConfigError>(
                  [&] { reshape_workload(workload, kMaxDimension, kMaxDimension); }),
              HasSubstr("63 bits"));
  EXPECT_THAT(lowbank::testing::error_text<ConfigError>(
                  [&] { reshape_workload(workload, 1, std::int64_t{1} << 39); }),
              HasSubstr("63 bits"));
  Workload odd = workload;
  odd.decode[1].m = 3;  // rows of two sequences
  EXPECT_THAT(lowbank::testing::error_text<ConfigError>([&] { reshape_workload(odd, 4, 32); }),
              HasSubstr("multiple of the exported batch"));
}

std::int64_t num_of(const std::vector<Operator>& operators, OperatorKind kind) {
  return std::count_if(operators.begin(), operators.end(),
                       [&](const Operator& op) { return op.kind == kind; });
}

TEST(SplitTest, EachGpuDoesItsPartAndTwoSumsABlockPutItTogether) {
  // All sizes divide by four.
  const SampleShape shape = {.num_layers = 3, .hidden = 64, .feed_forward = 176, .batch = 2};
  const Workload workload = sample_workload(shape);
  for (const Phase phase : {Phase::kPrefill, Phase::kDecode}) {
    const auto& whole = workload.operators(phase);
    const auto mine = split_over_gpus(whole, shape.batch, 4);
    EXPECT_EQ(num_macs(mine) * 4, num_macs(whole));
    EXPECT_EQ(num_of(mine, OperatorKind::kAllReduce), 2 * shape.num_layers);
    double weight_bytes = 0, whole_bytes = 0;
    for (const Operator& op : mine) weight_bytes += op.weight_bytes;
    for (const Operator& op : whole) whole_bytes += op.weight_bytes;
    EXPECT_DOUBLE_EQ(weight_bytes * 4, whole_bytes);
    for (std::size_t i = 0; i + 1 < mine.size(); ++i) {
      if (mine[i + 1].kind != OperatorKind::kAllReduce) continue;
      EXPECT_TRUE(mine[i].name.ends_with("o_proj") || mine[i].name.ends_with("down_proj"))
          << mine[i].name;
      EXPECT_EQ(mine[i + 1].m, mine[i].m);
      EXPECT_EQ(mine[i + 1].n, shape.hidden);
    }
    const auto act = std::find_if(mine.begin(), mine.end(), [](const Operator& op) {
      return op.kind == OperatorKind::kActivation;
    });
    EXPECT_EQ(act->n, shape.feed_forward / 4);
  }
}

TEST(SplitTest, AFactoredLayerIsSplitOnItsOuterSidesAndAddsUpAtItsRank) {
  const SampleShape shape = {.num_layers = 1, .hidden = 64, .feed_forward = 176, .rank = 10};
  const auto mine = split_over_gpus(sample_workload(shape).decode, 1, 4);
  for (std::size_t i = 0; i < mine.size(); ++i) {
    const Operator& op = mine[i];
    if (op.kind != OperatorKind::kLinear || op.factored_as.empty()) continue;
    const bool splits_input = op.name.ends_with("o_proj") || op.name.ends_with("down_proj");
    const std::int64_t whole_in = op.name.ends_with("down_proj") ? 176 : 64;
    const std::int64_t whole_out = op.name.find("gate") + 1 || op.name.find("up_") + 1 ? 176 : 64;
    if (op.stage == 0) {
      EXPECT_EQ(op.n, shape.rank) << op.name;
      EXPECT_EQ(op.k, splits_input ? whole_in / 4 : whole_in) << op.name;
      EXPECT_EQ(mine[i + 1].kind == OperatorKind::kAllReduce, splits_input) << op.name;
      if (splits_input) {
        EXPECT_EQ(mine[i + 1].n, shape.rank) << op.name;
      }
    } else {
      EXPECT_EQ(op.k, shape.rank) << op.name;
      EXPECT_EQ(op.n, splits_input ? whole_out : whole_out / 4) << op.name;
    }
  }
}

TEST(SplitTest, HeadsThatShareACacheStayTogetherAsFarAsTheyFit) {
  Operator score = testing::other(OperatorKind::kScore, "score", 0, 1, 64, 16, 2 * 12);
  score.queries_per_cache = 6;
  const auto shared_on = [&](std::int64_t num_gpus) {
    return split_over_gpus({score}, 2, num_gpus).front().queries_per_cache;
  };
  EXPECT_EQ(shared_on(2), 6);  // of 6 heads a GPU
  EXPECT_EQ(shared_on(3), 2);  // of 4
  EXPECT_EQ(shared_on(12), 1);

  Workload workload = sample_workload({.batch = 2, .context = 24});
  for (Operator& op : workload.decode) {
    if (op.kind == OperatorKind::kAttend) op.queries_per_cache = 4;
  }
  for (const Operator& op : reshape_workload(workload, 3, 50).decode) {
    EXPECT_EQ(op.queries_per_cache, op.kind == OperatorKind::kAttend ? 4 : 1);
  }
}

TEST(ReshapeTest, StateUpdatesGoWithTheSequencesAndAPromptsTokens) {
  const auto update = [](std::int64_t batch, std::int64_t context, Phase phase) {
    const std::int64_t tokens = phase == Phase::kPrefill ? context : 1;
    Operator op =
        testing::other(OperatorKind::kStateUpdate, "update", 0, tokens, 64, 128, batch * 5);
    op.activation_bytes = static_cast<double>(tokens * 4 * 300 + 2 * 64 * 128 * 4);
    return op;
  };
  const auto with = [&](std::int64_t batch, std::int64_t context) {
    Workload workload = sample_workload({.batch = batch, .context = context});
    workload.prefill = {update(batch, context, Phase::kPrefill)};
    workload.decode = {update(batch, context, Phase::kDecode)};
    return workload;
  };
  EXPECT_EQ(workload_to_json(reshape_workload(with(3, 24), 7, 100)),
            workload_to_json(with(7, 100)));
  EXPECT_FALSE(reads_context(with(3, 64).decode[0], 64));
  EXPECT_EQ(with(3, 24).decode[0].macs(), 2 * 64 * 128 * 15);

  const auto mine = split_over_gpus(with(3, 24).decode, 3, 2);
  EXPECT_EQ(mine[0].count, 3 * 3);
  EXPECT_EQ(mine[0].n, 64);
  EXPECT_THAT(
      lowbank::testing::error_text<ConfigError>([&] { split_over_gpus(with(3, 24).decode, 3, 6); }),
      HasSubstr("5 heads"));
}

TEST(SplitTest, TilesOfAFactoredLayerAreDealtOut) {
  const std::int64_t in = 96, out = 64, tile = 16, rank = 3;
  std::vector<Operator> layers =
      testing::tiled_workload({.in = in, .out = out, .tile = tile, .rank = rank}).decode;
  const auto back = testing::tiled_workload({.in = out, .out = in, .tile = tile, .rank = rank});
  layers.insert(layers.end(), back.decode.begin(), back.decode.end());
  for (std::size_t i = 2; i < 4; ++i) layers[i].name = "back";
  const auto mine = split_over_gpus(layers, 1, 2);
  ASSERT_EQ(mine.size(), 5u);
  // Split by output: every GPU reads all inputs.
  EXPECT_EQ(mine[0].count, in / tile);
  EXPECT_EQ(mine[0].n, out / tile / 2 * rank);
  EXPECT_EQ(mine[1].count, out / tile / 2);
  EXPECT_EQ(mine[1].k, in / tile * rank);
  // By input, which the GPU's part of the outputs before is.
  EXPECT_EQ(mine[2].count, out / tile / 2);
  EXPECT_EQ(mine[2].n, in / tile * rank);
  EXPECT_EQ(mine[3].count, in / tile);
  EXPECT_EQ(mine[3].k, out / tile / 2 * rank);
  EXPECT_EQ(mine[4].kind, OperatorKind::kAllReduce);
  EXPECT_EQ(mine[4].n, in);
  EXPECT_EQ(num_macs(mine) * 2, num_macs(layers));
  double weight_bytes = 0, whole_bytes = 0;
  for (const Operator& op : mine) weight_bytes += op.weight_bytes * static_cast<double>(op.count);
  for (const Operator& op : layers) whole_bytes += op.weight_bytes * static_cast<double>(op.count);
  EXPECT_DOUBLE_EQ(weight_bytes * 2, whole_bytes);
}

TEST(SplitTest, PartsRoundUpAndHeadsBoundTheGpus) {
  const SampleShape shape = {.num_layers = 1, .hidden = 60, .feed_forward = 100, .heads = 6};
  const auto mine = split_over_gpus(sample_workload(shape).decode, 1, 4);
  for (const Operator& op : mine) {
    if (op.kind == OperatorKind::kScore) {
      EXPECT_EQ(op.count, 2);
    } else if (op.name.ends_with("gate_proj")) {
      EXPECT_EQ(op.n, 25);
    }
  }
  EXPECT_THAT(lowbank::testing::error_text<ConfigError>(
                  [&] { split_over_gpus(sample_workload(shape).decode, 1, 8); }),
              HasSubstr("6 heads"));
}

}  // namespace
}  // namespace lowbank::pim
