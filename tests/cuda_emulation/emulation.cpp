#include "cuda_emulation/emulation.h"

#include <algorithm>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <ucontext.h>
#include <utility>
#include <vector>

#include <cuda_runtime.h>
#include <fmt/format.h>
#include <sanitizer/asan_interface.h>

#include "cuda_emulation/guarded_bytes.h"

uint3 threadIdx;
uint3 blockIdx;
dim3 blockDim;
dim3 gridDim;

namespace lowbank::emulation {
namespace {

// What a GPU of compute capability 9.0 takes (CUDA C++ Programming Guide, "Compute Capabilities").
constexpr unsigned kWarpLanes = 32;
constexpr unsigned kMaxThreads = 1024;
constexpr unsigned kMaxBlockDepth = 64;
constexpr unsigned kMaxGridWidth = 0x7FFFFFFF;
constexpr unsigned kMaxGridHeight = 65535;
constexpr std::size_t kSharedBytesUnasked = std::size_t{48} * 1024;
constexpr std::size_t kMaxSharedBytes = std::size_t{227} * 1024;

constexpr std::size_t kStackBytes = std::size_t{128} * 1024;

enum class Wait : std::uint8_t { kNothing, kBlock, kWarp, kEnd };

struct Fibre {
  ucontext_t context;
  uint3 index;
  Wait wait = Wait::kNothing;
  Place place;        // where it waits
  unsigned mask = 0;  // of the shuffle in which it waits
  unsigned source_lane = 0;
  float value = 0;
  float received = 0;
};

bool is_same(const Place& a, const Place& b) {
  return a.line == b.line && std::string_view(a.file) == b.file;
}

std::string text_of(const uint3& index) {
  return fmt::format("({}, {}, {})", index.x, index.y, index.z);
}

std::string text_of(const Fibre& fibre) {
  const std::string_view path = fibre.place.file;
  const auto place = fmt::format("{}:{}", path.substr(path.rfind('/') + 1), fibre.place.line);
  const auto thread = "thread " + text_of(fibre.index);
  switch (fibre.wait) {
    case Wait::kBlock:
      return thread + " waits in __syncthreads at " + place;
    case Wait::kWarp:
      return fmt::format("{} waits in a shuffle of the lanes {:#010x} at {}", thread, fibre.mask,
                         place);
    case Wait::kEnd:
      return thread + " has ended";
    case Wait::kNothing:
      break;
  }
  return thread + " runs";
}

// Stacks are kept from launch to launch, so that the system hands out their pages once.
std::byte* stack_of(std::size_t thread) {
  static std::vector<std::unique_ptr<std::byte[]>> stacks;
  while (stacks.size() <= thread) {
    stacks.push_back(std::make_unique_for_overwrite<std::byte[]>(kStackBytes));
  }
  return stacks[thread].get();
}

// One block of the grid; its threads are fibres.
class Block {
 public:
  Block(const std::function<void()>& thread, std::size_t dynamic_bytes,
        std::size_t max_shared_bytes)
      : thread_(thread),
        max_shared_bytes_(max_shared_bytes),
        num_shared_bytes_(dynamic_bytes),
        dynamic_(dynamic_bytes),
        fibres_(std::size_t{blockDim.x} * blockDim.y * blockDim.z) {}

  void run();

  // Called by fibres.
  std::byte* dynamic() const { return dynamic_.data(); }
  std::byte* shared(const char* name, std::size_t size_bytes);
  void synchronize(const Place& place);
  float exchange(unsigned mask, float value, unsigned source_lane, const Place& place);
  unsigned lane() const { return static_cast<unsigned>(running_ - fibres_.data()) % kWarpLanes; }

 private:
  static void enter();
  static void start(Fibre& fibre, unsigned thread);
  void run_warp(std::size_t warp);
  void check_shared() const;
  bool open_barrier();
  void suspend() { swapcontext(&running_->context, &scheduler_); }
  void fail(const std::string& problem);
  std::span<Fibre> lanes_of(std::size_t warp) {
    const std::size_t begin = warp * kWarpLanes;
    return std::span(fibres_).subspan(begin,
                                      std::min<std::size_t>(kWarpLanes, fibres_.size() - begin));
  }

  const std::function<void()>& thread_;
  std::size_t max_shared_bytes_;
  std::size_t num_shared_bytes_;
  GuardedBytes dynamic_;
  std::map<std::string, GuardedBytes> shared_;
  std::vector<Fibre> fibres_;
  ucontext_t scheduler_ = {};
  Fibre* running_ = nullptr;
  std::string problem_;
};

Block* block = nullptr;  // the one that runs

// function(0), ..., function(count - 1), or the other way round.
template <class Function>
void in_order(std::size_t count, const Function& function) {
  const bool ascending = settings().order == Order::kAscending;
  for (std::size_t i = 0; i < count; ++i) function(ascending ? i : count - 1 - i);
}

std::string in_block(const std::string& problem) {
  return fmt::format("block {}: {}", text_of(blockIdx), problem);
}

void Block::enter() {
  block->thread_();
  block->running_->wait = Wait::kEnd;
  block->suspend();
}

void Block::start(Fibre& fibre, unsigned thread) {
  fibre.index = {thread % blockDim.x, thread / blockDim.x % blockDim.y,
                 thread / blockDim.x / blockDim.y};
  std::byte* const stack = stack_of(thread);
  ASAN_UNPOISON_MEMORY_REGION(stack, kStackBytes);  // frames that a failed block has left there
  getcontext(&fibre.context);
  fibre.context.uc_stack.ss_sp = stack;
  fibre.context.uc_stack.ss_size = kStackBytes;
  fibre.context.uc_link = nullptr;
  makecontext(&fibre.context, &Block::enter, 0);
}

void Block::run() {
  for (unsigned i = 0; i < fibres_.size(); ++i) start(fibres_[i], i);
  const std::size_t num_warps = (fibres_.size() + kWarpLanes - 1) / kWarpLanes;
  do {
    in_order(num_warps, [&](std::size_t warp) { run_warp(warp); });
  } while (open_barrier());
  check_shared();
}

// Runs the lanes in turn until none of them can go on.
void Block::run_warp(std::size_t warp) {
  const auto lanes = lanes_of(warp);
  bool has_run = true;
  while (has_run) {
    has_run = false;
    in_order(lanes.size(), [&](std::size_t lane) {
      if (lanes[lane].wait != Wait::kNothing) return;
      has_run = true;
      running_ = &lanes[lane];
      threadIdx = running_->index;
      swapcontext(&scheduler_, &running_->context);
      if (!problem_.empty()) throw KernelError(in_block(problem_));
    });
  }
}

// Lets the threads go on from the barrier where all of them wait; false if all have ended.
bool Block::open_barrier() {
  const Fibre& first = fibres_.front();
  for (const Fibre& fibre : fibres_) {
    const bool is_stuck = fibre.wait == Wait::kWarp || fibre.wait != first.wait ||
                          (fibre.wait == Wait::kBlock && !is_same(fibre.place, first.place));
    if (is_stuck) {
      throw KernelError(in_block("threads wait for each other: " + text_of(first) +
                                 (&fibre == &first ? "" : ", " + text_of(fibre))));
    }
  }
  if (first.wait == Wait::kEnd) return false;
  for (Fibre& fibre : fibres_) fibre.wait = Wait::kNothing;
  return true;
}

void Block::check_shared() const {
  if (!dynamic_.is_intact()) {
    throw KernelError(in_block("something was written outside of the dynamic shared memory"));
  }
  for (const auto& [name, bytes] : shared_) {
    if (!bytes.is_intact()) {
      throw KernelError(in_block("something was written outside of the shared array " + name));
    }
  }
}

std::byte* Block::shared(const char* name, std::size_t size_bytes) {
  const auto [at, is_new] = shared_.try_emplace(name, size_bytes);
  if (is_new) num_shared_bytes_ += size_bytes;
  if (at->second.size_bytes() != size_bytes) {
    fail(fmt::format("two shared arrays have the name {}", name));
  }
  if (num_shared_bytes_ > max_shared_bytes_) {
    fail(fmt::format("{} bytes of shared memory are more than the {} that a launch may have{}",
                     num_shared_bytes_, max_shared_bytes_,
                     max_shared_bytes_ < kMaxSharedBytes ? " unasked" : ""));
  }
  return at->second.data();
}

void Block::synchronize(const Place& place) {
  running_->wait = Wait::kBlock;
  running_->place = place;
  suspend();
}

float Block::exchange(unsigned mask, float value, unsigned source_lane, const Place& place) {
  Fibre& me = *running_;
  me.wait = Wait::kWarp;
  me.place = place;
  me.mask = mask;
  me.value = value;
  me.source_lane = source_lane;
  if ((mask >> lane() & 1) == 0) fail(text_of(me) + ", which does not name the thread's own");
  if ((mask >> source_lane & 1) == 0) {
    fail(fmt::format("{}, which does not name lane {}, whose value it reads", text_of(me),
                     source_lane));
  }
  const auto lanes = lanes_of(static_cast<std::size_t>(&me - fibres_.data()) / kWarpLanes);
  const auto for_lanes_of_mask = [&](const auto& function) {
    for (std::size_t i = 0; i < kWarpLanes; ++i) {
      if ((mask >> i & 1) != 0) function(i);
    }
  };
  bool all_here = true;
  for_lanes_of_mask([&](std::size_t i) {
    all_here = all_here && i < lanes.size() && lanes[i].wait == Wait::kWarp &&
               lanes[i].mask == mask && is_same(lanes[i].place, place);
  });
  if (all_here) {
    for_lanes_of_mask([&](std::size_t i) {
      lanes[i].received = lanes[lanes[i].source_lane].value;
      lanes[i].wait = Wait::kNothing;
    });
  } else {
    suspend();
  }
  return me.received;
}

// Does not return: a block that has a problem is not run further.
void Block::fail(const std::string& problem) {
  problem_ = problem;
  suspend();
}

std::map<const void*, std::size_t>& asked_dynamic_bytes() {
  static std::map<const void*, std::size_t> bytes;
  return bytes;
}

cudaError_t last_error = cudaSuccess;

cudaError_t keep(cudaError_t error) {
  if (error != cudaSuccess) last_error = error;
  return error;
}

}  // namespace

Settings& settings() {
  static Settings current;
  return current;
}

cudaError_t set_max_dynamic_shared_bytes(const void* kernel, int size_bytes) {
  if (size_bytes < 0 || static_cast<std::size_t>(size_bytes) > kMaxSharedBytes) {
    return keep(cudaErrorInvalidValue);
  }
  asked_dynamic_bytes()[kernel] = static_cast<std::size_t>(size_bytes);
  return cudaSuccess;
}

cudaError_t run_grid(const cudaLaunchConfig_t& config, const void* kernel,
                     const std::function<void()>& thread) {
  const auto& grid = config.gridDim;
  const auto& threads = config.blockDim;
  const auto is_between = [](unsigned x, unsigned most) { return x >= 1 && x <= most; };
  const bool is_possible =
      is_between(grid.x, kMaxGridWidth) && is_between(grid.y, kMaxGridHeight) &&
      is_between(grid.z, kMaxGridHeight) && is_between(threads.x, kMaxThreads) &&
      is_between(threads.y, kMaxThreads) && is_between(threads.z, kMaxBlockDepth) &&
      std::size_t{threads.x} * threads.y * threads.z <= kMaxThreads;
  if (!is_possible) return keep(cudaErrorInvalidConfiguration);
  const auto asked = asked_dynamic_bytes().find(kernel);
  const bool has_asked = asked != asked_dynamic_bytes().end();
  if (config.dynamicSmemBytes > (has_asked ? asked->second : kSharedBytesUnasked)) {
    return keep(cudaErrorInvalidValue);
  }
  gridDim = grid;
  blockDim = threads;
  if (settings().max_blocks != 0) gridDim.x = std::min(gridDim.x, settings().max_blocks);
  in_order(std::size_t{gridDim.x} * gridDim.y * gridDim.z, [&](std::size_t i) {
    const auto index = static_cast<unsigned>(i);
    blockIdx = {index % gridDim.x, index / gridDim.x % gridDim.y, index / gridDim.x / gridDim.y};
    Block current(thread, config.dynamicSmemBytes,
                  has_asked ? kMaxSharedBytes : kSharedBytesUnasked);
    block = &current;
    current.run();
  });
  return cudaSuccess;
}

std::byte* shared_array(const char* name, std::size_t size_bytes) {
  return block->shared(name, size_bytes);
}

std::byte* dynamic_shared_array() { return block->dynamic(); }

float exchange(unsigned mask, float value, unsigned source_lane, const Place& place) {
  return block->exchange(mask, value, source_lane, place);
}

unsigned lane_index() { return block->lane(); }

}  // namespace lowbank::emulation

void __syncthreads(const lowbank::emulation::Place& place) {
  lowbank::emulation::block->synchronize(place);
}

cudaError_t cudaGetLastError() {
  return std::exchange(lowbank::emulation::last_error, cudaSuccess);
}

const char* cudaGetErrorString(cudaError_t error) {
  switch (error) {
    case cudaSuccess:
      return "no error";
    case cudaErrorInvalidValue:
      return "invalid argument";
    case cudaErrorInvalidConfiguration:
      return "invalid configuration argument";
  }
  return "unrecognized error code";
}
