#include "pim/pim_schedule.h"

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <utility>

namespace lowbank::pim {
namespace {

std::size_t to_index(std::int64_t value) { return static_cast<std::size_t>(value); }

// Gives shapes their numbers and strings rows together.
class ScheduleWriter {
 public:
  ScheduleWriter(const PimGeometry& geometry, PimSchedule& schedule)
      : geometry_(geometry), schedule_(schedule) {
    schedule_.ends.resize(to_index(geometry.num_pseudo_channels()));
  }

  std::int64_t full_shape(bool starts) {
    const auto banks = geometry_.banks_per_group;
    const auto groups = to_index(geometry_.bank_groups);
    return number_of({.starting = std::vector<std::int64_t>(groups, starts ? banks : 0),
                      .working = std::vector<std::int64_t>(groups, banks)});
  }

  std::int64_t number_of(const PimRowShape& shape) {
    const auto [it, is_new] =
        numbers_.try_emplace(shape, static_cast<std::int64_t>(schedule_.shapes.size()));
    if (is_new) schedule_.shapes.push_back(shape);
    return it->second;
  }

  static void append(std::vector<PimRun>& runs, std::int64_t row, std::int64_t count) {
    if (count == 0) return;
    if (!runs.empty() && runs.back().row == row) {
      runs.back().count += count;
    } else {
      runs.push_back({.row = row, .count = count});
    }
  }

  void append_everywhere(std::int64_t row, std::int64_t count) {
    for (auto& runs : schedule_.ends) append(runs, row, count);
  }

  // A round in which bank i starts a block (`starts`), goes on, or idles (i >= num_working).
  void append_round(const std::vector<bool>& starts, std::int64_t num_working) {
    const std::int64_t banks = geometry_.banks_per_pseudo_channel();
    for (std::int64_t p = 0; p * banks < num_working; ++p) {
      PimRowShape shape{.starting = std::vector<std::int64_t>(to_index(geometry_.bank_groups), 0),
                        .working = std::vector<std::int64_t>(to_index(geometry_.bank_groups), 0)};
      for (std::int64_t b = 0; b < banks && p * banks + b < num_working; ++b) {
        const std::size_t group = to_index(b / geometry_.banks_per_group);
        ++shape.working[group];
        if (starts[to_index(p * banks + b)]) ++shape.starting[group];
      }
      append(schedule_.ends[to_index(p)], number_of(shape), 1);
    }
  }

 private:
  const PimGeometry& geometry_;
  PimSchedule& schedule_;
  std::map<PimRowShape, std::int64_t> numbers_;
};

// Fewer blocks than banks, so banks share them.
class SharedBlocks {
 public:
  SharedBlocks(std::int64_t num_blocks, std::int64_t chunks, std::int64_t num_banks)
      : chunks_(chunks),
        done_(to_index(num_blocks), 0),
        num_sharing_(to_index(num_blocks), 0),
        block_of_(to_index(num_banks), -1),
        left_(num_blocks * chunks) {
    for (std::int64_t b = 0; b < num_blocks; ++b) open_.insert({0, b});
  }

  std::int64_t num_left() const { return left_; }

  // Rounds in which every bank just goes on, which are then done.
  std::int64_t skip_rounds() {
    std::int64_t rounds = std::numeric_limits<std::int64_t>::max();
    for (std::size_t b = 0; b < done_.size(); ++b) {
      if (num_sharing_[b] > 0) rounds = std::min(rounds, (chunks_ - done_[b]) / num_sharing_[b]);
    }
    const bool has_begun = block_of_.front() >= 0;
    if (!has_begun || rounds == 0) return 0;
    open_.clear();
    for (std::size_t b = 0; b < done_.size(); ++b) {
      done_[b] += rounds * num_sharing_[b];
      left_ -= rounds * num_sharing_[b];
      if (done_[b] < chunks_) open_.insert({done_[b], static_cast<std::int64_t>(b)});
    }
    return rounds;
  }

  // Visits every bank once; starts[i] tells whether bank i took a block. Returns how many worked.
  std::int64_t visit(std::vector<bool>& starts) {
    for (std::size_t i = 0; i < block_of_.size(); ++i) {
      if (open_.empty()) return static_cast<std::int64_t>(i);
      std::int64_t& block = block_of_[i];
      starts[i] = block < 0 || done_[to_index(block)] == chunks_;
      if (starts[i]) {
        if (block >= 0) --num_sharing_[to_index(block)];
        block = open_.begin()->second;
        ++num_sharing_[to_index(block)];
      }
      std::int64_t& done = done_[to_index(block)];
      auto node = open_.extract({done, block});
      ++done;
      --left_;
      if (done < chunks_) {
        node.value() = {done, block};
        open_.insert(std::move(node));
      }
    }
    return static_cast<std::int64_t>(block_of_.size());
  }

 private:
  std::int64_t chunks_;
  std::vector<std::int64_t> done_;                        // chunks of each block
  std::vector<std::int64_t> num_sharing_;                 // banks at each block
  std::vector<std::int64_t> block_of_;                    // of each bank; -1 before its first
  std::set<std::pair<std::int64_t, std::int64_t>> open_;  // done, block
  std::int64_t left_;
};

}  // namespace

PimSchedule spread_pim_work(const PimGeometry& geometry, const PimWork& work) {
  PimSchedule schedule;
  ScheduleWriter writer(geometry, schedule);
  const std::int64_t banks = geometry.num_banks();
  const std::int64_t chunks = work.chunks_per_block;
  const std::int64_t full_turns = work.num_blocks / banks;
  const std::int64_t blocks_left = work.num_blocks % banks;
  const std::int64_t go_on = writer.full_shape(false);
  bool is_first_round = full_turns == 0;
  const auto keeps = [&] { return work.keeps_incomplete_round || is_first_round; };

  if (!work.tells_starts) {
    const std::int64_t pairs = blocks_left * chunks;
    const std::int64_t rounds = full_turns * chunks + pairs / banks;
    schedule.turns = {.runs = {{.row = go_on, .count = 1}}, .repeats = rounds};
    is_first_round = rounds == 0;
    if (pairs % banks > 0 && keeps()) {
      writer.append_round(std::vector<bool>(to_index(banks), false), pairs % banks);
    }
    return schedule;
  }

  ScheduleWriter::append(schedule.turns.runs, writer.full_shape(true), 1);
  ScheduleWriter::append(schedule.turns.runs, go_on, chunks - 1);
  schedule.turns.repeats = full_turns;
  SharedBlocks blocks(blocks_left, chunks, banks);
  std::vector<bool> starts(to_index(banks));
  while (blocks.num_left() > 0) {
    writer.append_everywhere(go_on, blocks.skip_rounds());
    if (blocks.num_left() == 0) break;
    const std::int64_t num_working = blocks.visit(starts);
    if (num_working == banks || keeps()) writer.append_round(starts, num_working);
    is_first_round = false;
  }
  return schedule;
}

}  // namespace lowbank::pim
