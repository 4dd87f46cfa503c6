#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "config/stage_config.h"

namespace torch::nn {
class Module;
}

namespace lowbank {

class AdamW;

/// How far a training run has come.
struct TrainProgress {
  std::int64_t step = 0;                   ///< optimizer steps done
  bool is_evaluated = false;               ///< the validation that falls on `step` is done
  std::optional<double> start_valid_loss;  ///< before the first step
  std::optional<double> valid_loss;        ///< the latest
  double step_seconds = 0;                 ///< spent in steps
  double seconds = 0;                      ///< spent in all
};

/// What a training run needs to go on: parameters, optimizer state and progress, in one file of the
/// run folder's `state` that is replaced whole, so that a killed process leaves the point before.
class ResumePoint {
 public:
  /// With `resume` looks for a saved point, and says so in a note when there is none.
  /// Errors: IoError for a corrupt one; ConfigError if it was made with other settings, inputs or
  /// version, naming the first difference.
  ResumePoint(const std::string& run_folder, const StageConfig& config, bool resume);

  /// There is a point to go on from.
  bool can_resume() const { return can_resume_; }
  /// Hash of the settings, for a checkpoint's history.
  const std::string& settings_hash() const { return settings_hash_; }

  /// Puts parameters and optimizer state back. Errors: IoError if they do not fit.
  TrainProgress load(torch::nn::Module& model, AdamW& optimizer) const;
  void save(const torch::nn::Module& model, const AdamW& optimizer,
            const TrainProgress& progress) const;
  /// Once the run is complete.
  void remove() const;

 private:
  std::string folder_, path_;
  std::string fingerprint_, settings_;  // JSON texts
  std::string settings_hash_;
  bool can_resume_ = false;
};

}  // namespace lowbank
