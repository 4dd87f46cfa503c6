#include "dist/communicator.h"

#ifdef LOWBANK_MPI
#include <cstdlib>
#include <vector>

#include <mpi.h>

#include "core/error.h"
#endif

namespace lowbank {
namespace {

class SingleProcess : public Communicator {
 public:
  std::int64_t rank() const override { return 0; }
  std::int64_t size() const override { return 1; }
  void all_reduce_sum(std::span<double>) override {}
  void barrier() override {}
};

#ifdef LOWBANK_MPI

// MPI_Init without a launcher starts helper processes of its own and takes a second: ask first.
bool started_by_launcher() {
  return std::getenv("OMPI_COMM_WORLD_SIZE") != nullptr || std::getenv("PMI_SIZE") != nullptr ||
         std::getenv("PMIX_RANK") != nullptr;
}

class MpiProcess : public Communicator {
 public:
  MpiProcess() {
    if (MPI_Init(nullptr, nullptr) != MPI_SUCCESS) throw ResourceError("MPI_Init failed");
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
  }
  ~MpiProcess() override { MPI_Finalize(); }
  MpiProcess(const MpiProcess&) = delete;
  MpiProcess& operator=(const MpiProcess&) = delete;

  std::int64_t rank() const override { return rank_; }
  std::int64_t size() const override { return size_; }

  // MPI_Allreduce may add in another order on another run; gather, add in rank order, broadcast.
  void all_reduce_sum(std::span<double> values) override {
    const int count = static_cast<int>(values.size());
    std::vector<double> gathered(rank_ == 0 ? values.size() * static_cast<std::size_t>(size_) : 0);
    MPI_Gather(values.data(), count, MPI_DOUBLE, gathered.data(), count, MPI_DOUBLE, 0,
               MPI_COMM_WORLD);
    if (rank_ == 0) {
      for (std::size_t i = 0; i < values.size(); ++i) {
        double sum = 0;
        for (std::size_t r = 0; r < static_cast<std::size_t>(size_); ++r) {
          sum += gathered[r * values.size() + i];
        }
        values[i] = sum;
      }
    }
    MPI_Bcast(values.data(), count, MPI_DOUBLE, 0, MPI_COMM_WORLD);
  }

  void barrier() override { MPI_Barrier(MPI_COMM_WORLD); }

 private:
  int rank_ = 0;
  int size_ = 1;
};

#endif

}  // namespace

std::unique_ptr<Communicator> make_communicator() {
#ifdef LOWBANK_MPI
  if (started_by_launcher()) return std::make_unique<MpiProcess>();
#endif
  return std::make_unique<SingleProcess>();
}

}  // namespace lowbank
