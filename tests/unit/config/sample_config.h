#pragma once

#include "config/stage_config.h"

namespace lowbank::testing {

/// A stage with a field of every kind.
struct SampleConfig : StageConfig {
  std::string input;
  std::int64_t steps = 10;
  double learning_rate = 0.5;
  bool greedy = false;
  double offset = 0;
  std::vector<double> shifts;
  std::string method = "svd";
  std::vector<double> fracs = {0, 1};
  std::vector<std::string> names;
  std::vector<std::string> files;
  double sigma = 0.1;
  std::string encoding = "plain";
  bool resume = false;

  CommandInfo info() const override {
    return {.name = "sample",
            .purpose = "Shows every kind of field.",
            .example = "lowbank sample in.txt",
            .positionals = {"input", "out"}};
  }
  Fields stage_fields() const override {
    return {Field("input", &input, "what is read").input().required(),
            Field("steps", &steps, "how many").at_least(1).at_most(100).unit("steps"),
            Field("learning_rate", &learning_rate, "how fast").above(0).below(1),
            Field("greedy", &greedy, "no sampling"),
            Field("offset", &offset, "from zero"),
            Field("shifts", &shifts, "more of them").many(),
            Field("method", &method, "how").one_of({"svd", "tile_svd"}),
            Field("fracs", &fracs, "parts").at_least(0).at_most(1),
            Field("names", &names, "names").many(),
            Field("files", &files, "files").input().many(),
            Field("noise",
                  Fields{Field("sigma", &sigma, "spread").at_least(0),
                         Field("encoding", &encoding, "form").one_of({"plain", "gray"})},
                  "cells"),
            Field("resume", &resume, "go on").no_effect()};
  }
};

}  // namespace lowbank::testing
