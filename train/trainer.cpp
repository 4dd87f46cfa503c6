#include "train/trainer.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <optional>
#include <string>

#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "config/results/training_metrics.h"
#include "core/error.h"
#include "core/interrupt.h"
#include "core/log.h"
#include "core/progress.h"
#include "core/text.h"
#include "nn/tensor_file.h"

namespace lowbank {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr const char* kProgress = "progress";

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

Json scores_to_json(const Scores& scores) {
  Json json = Json::object();
  for (const auto& [name, value] : scores) json[name] = value;
  return json;
}

Scores scores_from(const Json& json) {
  Scores scores;
  for (const auto& [name, value] : json.items()) {
    // A perplexity may be infinite, which JSON cannot express.
    scores.emplace_back(
        name, value.is_null() ? std::numeric_limits<double>::infinity() : value.get<double>());
  }
  return scores;
}

Json progress_to_json(const TrainProgress& progress) {
  return {{"step", progress.step},
          {"num_tokens", progress.num_tokens},
          {"is_evaluated", progress.is_evaluated},
          {"start_scores", scores_to_json(progress.start_scores)},
          {"scores", scores_to_json(progress.scores)},
          {"step_seconds", progress.step_seconds},
          {"seconds", progress.seconds}};
}

TrainProgress progress_from(const Json& json, const std::string& source) {
  TrainProgress progress;
  try {
    json.at("step").get_to(progress.step);
    json.at("num_tokens").get_to(progress.num_tokens);
    json.at("is_evaluated").get_to(progress.is_evaluated);
    progress.start_scores = scores_from(json.at("start_scores"));
    progress.scores = scores_from(json.at("scores"));
    json.at("step_seconds").get_to(progress.step_seconds);
    json.at("seconds").get_to(progress.seconds);
  } catch (const Json::exception& e) {
    throw DamagedRecord(fmt::format("{}: corrupt resume point: {}", source, e.what()));
  }
  return progress;
}

// The run's own part of a snapshot: parameters, optimizer state, progress.
Snapshot make_snapshot(const TrainJob& job, const TrainProgress& done) {
  Snapshot snapshot;
  for (const auto& item : job.model.named_parameters()) snapshot.add(item.key(), item.value());
  for (const auto& [name, tensor] : job.optimizer.state()) snapshot.add(name, tensor);
  snapshot.add_record(kProgress, progress_to_json(done));
  for (const auto* hook : job.hooks) hook->save(snapshot);
  return snapshot;
}

TrainProgress load_snapshot(const TrainJob& job, const Snapshot& snapshot) {
  for (const auto& item : job.model.named_parameters()) {
    snapshot.copy_into(item.key(), item.value());
  }
  for (const auto& [name, tensor] : job.optimizer.state()) snapshot.copy_into(name, tensor);
  const auto done = progress_from(snapshot.record(kProgress), snapshot.source());
  if (done.step < 0 || done.step > job.options.steps || done.num_tokens < 0) {
    throw DamagedRecord(fmt::format("{}: corrupt resume point: after step {} of {}, with {} tokens",
                                    snapshot.source(), done.step, job.options.steps,
                                    done.num_tokens));
  }
  job.optimizer.set_num_steps(done.step);
  for (auto* hook : job.hooks) hook->load(snapshot);
  return done;
}

void check_finite(double value, const char* what, std::int64_t step, double learning_rate) {
  if (std::isfinite(value)) return;
  throw ResourceError(fmt::format(
      "train: the {} is not finite at step {} (learning rate {:g}); lower train.learning_rate or "
      "train.max_grad_norm",
      what, step, learning_rate));
}

// The update of a step may overflow though its loss and gradient did not.
void check_parameters(const TrainJob& job, std::int64_t step, double learning_rate) {
  for (const auto& [name, parameter] : job.optimizer.parameters()) {
    if (all_finite(parameter)) continue;
    check_finite(std::numeric_limits<double>::infinity(), ("parameter " + name).c_str(), step,
                 learning_rate);
  }
}

struct StepLoss {
  double loss = 0;
  std::optional<double> penalty = {};
  std::int64_t num_tokens = 0;
};

// The gradient of the mean loss over all targets of a step, and of the hooks' penalties.
StepLoss accumulate_gradients(const TrainJob& job, std::int64_t step) {
  const auto device = job.model.parameters().front().device();
  std::vector<Batch> batches;
  double weight = 0;
  StepLoss out;
  for (std::int64_t micro = 0; micro < job.source.num_micros(); ++micro) {
    batches.push_back(job.source.at(step, micro));
    weight += batches.back().weight;
    out.num_tokens += batches.back().num_tokens;
  }
  if (weight == 0) {
    throw ConfigError(
        fmt::format("train: the examples of step {} have nothing to learn from: no token of theirs "
                    "can be a target",
                    step + 1));
  }
  torch::Tensor total = at::zeros({}, at::TensorOptions(at::kFloat).device(device));
  for (std::size_t micro = 0; micro < batches.size(); ++micro) {
    if (batches[micro].weight == 0) continue;
    auto batch = to_device(std::move(batches[micro]), device);
    batch.input.dropout_key =
        job.dropout_key.derive(static_cast<std::uint64_t>(step)).derive(micro);
    const auto loss = job.objective.loss_sum(job.model, batch) / weight;
    loss.backward();
    total.add_(loss.detach());
  }
  for (auto* hook : job.hooks) {
    const auto penalty = hook->penalty(step);
    if (!penalty.defined()) continue;
    penalty.backward();
    out.penalty = out.penalty.value_or(0.0) + penalty.item<double>();
  }
  out.loss = total.item<double>();
  return out;
}

}  // namespace

TrainResult fit(const TrainJob& job) {
  const auto& options = job.options;
  const auto learning_rate_of = [&](std::int64_t step) {
    return learning_rate_at(job.learning_rate, options.steps, step);
  };
  TrainProgress done;
  if (const auto snapshot = job.sink.last_snapshot(); snapshot.has_value()) {
    done = load_snapshot(job, *snapshot);
    note("going on after step {} of {}", done.step, options.steps);
    job.sink.keep_metrics(done.step);
  } else {
    job.sink.keep_metrics(-1);
  }
  const std::int64_t first_step = done.step;
  const double seconds_before = done.seconds;
  const auto start = Clock::now();
  const auto save = [&] {
    done.seconds = seconds_before + seconds_since(start);
    check_parameters(job, done.step, learning_rate_of(std::max<std::int64_t>(done.step - 1, 0)));
    job.sink.save(make_snapshot(job, done));
  };
  job.model.train();
  job.optimizer.zero_grad();

  ProgressBar bar("train", options.steps, "step");
  while (true) {
    const bool is_end = done.step == options.steps;
    const bool is_new = done.step > first_step;
    if (interrupt_requested() && !(is_end && !options.save_at_end)) {
      save();
      throw Interrupted(fmt::format(
          "stopped after step {} of {}, which is saved; the same command with --resume goes on",
          done.step, options.steps));
    }
    if (job.held_out != nullptr && !done.is_evaluated &&
        (done.step == 0 || is_end ||
         (options.eval_every > 0 && done.step % options.eval_every == 0))) {
      done.scores = job.objective.score(job.model, *job.held_out);
      check_finite(done.scores.front().second, "validation loss", done.step,
                   learning_rate_of(std::max<std::int64_t>(done.step - 1, 0)));
      done.is_evaluated = true;
      if (done.step == 0) done.start_scores = done.scores;
      TrainingLine line{.step = done.step, .held_out = done.scores};
      job.sink.add_metrics(to_json(line.fields()));
    }
    if (is_end) break;
    if (is_new && options.save_every > 0 && done.step % options.save_every == 0) save();

    const auto step_start = Clock::now();
    const double learning_rate = learning_rate_of(done.step);
    const auto [loss, penalty, num_tokens] = accumulate_gradients(job, done.step);
    check_finite(loss + penalty.value_or(0.0), "loss", done.step + 1, learning_rate);
    for (auto* hook : job.hooks) hook->after_backward(done.step);
    const double grad_norm = clip_grad_norm_(job.optimizer.parameters(), options.max_grad_norm);
    check_finite(grad_norm, "gradient", done.step + 1, learning_rate);
    job.optimizer.step(learning_rate);
    job.optimizer.zero_grad();
    ++done.step;
    done.is_evaluated = false;
    done.num_tokens += num_tokens;
    const double step_seconds = seconds_since(step_start);
    done.step_seconds += step_seconds;
    for (auto* hook : job.hooks) hook->after_step(done.step);
    const double tokens_per_second = static_cast<double>(num_tokens) / step_seconds;
    TrainingLine line{.step = done.step,
                      .loss = loss,
                      .penalty = penalty.value_or(kNotReported),
                      .learning_rate = learning_rate,
                      .grad_norm = grad_norm,
                      .tokens_per_second = tokens_per_second};
    job.sink.add_metrics(to_json(line.fields()));
    bar.update(done.step, fmt::format("loss {:.3f}, {} tokens/s", loss,
                                      group_digits(static_cast<std::int64_t>(tokens_per_second))));
  }
  check_parameters(job, done.step, learning_rate_of(std::max<std::int64_t>(done.step - 1, 0)));
  if (options.save_at_end) save();
  job.model.eval();
  done.seconds = seconds_before + seconds_since(start);

  TrainResult result{.progress = done};
  for (const auto& [name, parameter] : job.optimizer.parameters()) {
    result.num_trainable += parameter.numel();
  }
  return result;
}

}  // namespace lowbank
