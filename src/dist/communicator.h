#pragma once

#include <cstdint>
#include <memory>
#include <span>

namespace lowbank {

/// The processes that work on one job together.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual std::int64_t rank() const = 0;
  virtual std::int64_t size() const = 0;
  /// values[i] becomes the sum over all processes, added in rank order on one process, so that the
  /// result is the same bytes on every process and in every run.
  virtual void all_reduce_sum(std::span<double> values) = 0;
  /// Returns when every process has called it.
  virtual void barrier() = 0;
};

/// The communicator of this job: MPI's world when built with LOWBANK_MPI and started by a launcher
/// (mpirun, Slurm), a single process otherwise. Call once a process; MPI ends with the object.
/// Errors: ResourceError if MPI cannot be initialised.
std::unique_ptr<Communicator> make_communicator();

}  // namespace lowbank
