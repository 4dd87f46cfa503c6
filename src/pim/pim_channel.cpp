#include "pim/pim_channel.h"

#include <algorithm>
#include <limits>
#include <map>

#include "core/error.h"

namespace lowbank::pim {
namespace {

constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

std::int64_t next_multiple(std::int64_t value, std::int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

// Where a pseudo-channel stands in its plan and in its row.
struct Lane {
  const std::vector<PimSection>* plan = nullptr;
  std::size_t section = 0;
  std::size_t run = 0;
  std::int64_t turn = 0;    // of the section's repeats
  std::int64_t offset = 0;  // in the run
  std::size_t step = 0;     // of the row
  std::int64_t done = 0;    // of the step
  std::int64_t last_issue = 0;
  std::int64_t last_activate = 0;
  std::int64_t gap = 0;  // from the last issue to the next command
  std::int64_t num_issued = 0;

  bool is_finished() const { return section == plan->size(); }
  bool is_between_rows() const { return is_finished() || step == 0; }
  const PimSection& now() const { return (*plan)[section]; }

  void skip_empty() {
    while (!is_finished()) {
      if (now().repeats > turn && run < now().runs.size()) {
        if (now().runs[run].count > offset) return;
        offset = 0;
        if (++run < now().runs.size()) continue;
        run = 0;
        if (++turn < now().repeats) continue;
      }
      ++section;
      run = 0;
      turn = offset = 0;
    }
  }
};

class Channel {
 public:
  Channel(const std::vector<PimRow>& rows, const std::vector<std::vector<PimSection>>& plans,
          const PimRefresh& refresh, const PimListener& listener)
      : rows_(rows), refresh_(refresh), listener_(listener), boundary_(refresh.interval) {
    for (const auto& plan : plans) {
      lanes_.push_back({.plan = &plan, .last_issue = 0, .gap = 1});
      lanes_.back().skip_empty();
    }
    times_.resize(lanes_.size());
  }

  std::int64_t run() {
    for (;;) {
      std::size_t first = choose(/*may_start_rows=*/true);
      if (first == lanes_.size()) return now_;
      if (times_[first] >= boundary_) {
        // A refresh waits for rows that ran over their estimate, and no other row starts.
        const bool is_held = refresh_.duration > 0 &&
                             !std::all_of(lanes_.begin(), lanes_.end(),
                                          [](const Lane& lane) { return lane.is_between_rows(); });
        if (!is_held) {
          pass_boundary(times_[first]);
          continue;
        }
        first = choose(/*may_start_rows=*/false);
      }
      if (listener_ || !issue_side_by_side(first)) {
        issue(first, listener_ ? 1 : num_undisturbed(first));
      }
    }
  }

 private:
  const PimRow& row_of(const Lane& lane) const {
    return rows_[static_cast<std::size_t>(lane.now().runs[lane.run].row)];
  }

  // First cycle at which the lane's next command may issue.
  std::int64_t ready_time(const Lane& lane) const {
    if (lane.is_finished()) return kNever;
    const PimRow& row = row_of(lane);
    const PimStep& step = row.steps[lane.step];
    std::int64_t time = std::max(now_ + 1, lane.last_issue + lane.gap);
    if (lane.done == 0) time = std::max(time, lane.last_activate + step.activate_gap);
    if (lane.step > 0) return time;
    time = std::max(time, refreshed_);
    const bool fits = time % refresh_.interval + row.length < refresh_.interval;
    return fits ? time : next_multiple(time, refresh_.interval);
  }

  std::size_t choose(bool may_start_rows) {
    std::size_t best = lanes_.size();
    for (std::size_t i = 0; i < lanes_.size(); ++i) {
      times_[i] = may_start_rows || !lanes_[i].is_between_rows() ? ready_time(lanes_[i]) : kNever;
      if (times_[i] == kNever) continue;
      if (best == lanes_.size() || times_[i] < times_[best] ||
          (times_[i] == times_[best] && lanes_[i].num_issued < lanes_[best].num_issued)) {
        best = i;
      }
    }
    return best;
  }

  // First cycle that a pseudo-channel other than these may want, or the boundary.
  std::int64_t quiet_until(std::size_t a, std::size_t b) const {
    std::int64_t limit = boundary_;
    for (std::size_t i = 0; i < lanes_.size(); ++i) {
      if (i != a && i != b) limit = std::min(limit, times_[i]);
    }
    return limit;
  }

  // How many commands of the lane's step issue before another pseudo-channel wants a cycle.
  std::int64_t num_undisturbed(std::size_t first) const {
    const Lane& lane = lanes_[first];
    const PimStep& step = row_of(lane).steps[lane.step];
    const std::int64_t wait = quiet_until(first, first) - times_[first];
    return std::clamp<std::int64_t>((wait + step.stride - 1) / step.stride, 1,
                                    step.count - lane.done);
  }

  // Two pseudo-channels that issue at one stride, out of phase, never meet: all but the last of
  // the shorter step's commands issue at once.
  bool issue_side_by_side(std::size_t first) {
    for (std::size_t other = 0; other < lanes_.size(); ++other) {
      if (other == first || times_[other] == kNever) continue;
      const std::int64_t lag = times_[other] - times_[first];
      const Lane& a = lanes_[first];
      const Lane& b = lanes_[other];
      const PimStep& step_a = row_of(a).steps[a.step];
      const PimStep& step_b = row_of(b).steps[b.step];
      if (lag <= 0 || lag >= step_a.stride || step_a.stride != step_b.stride) continue;
      const std::int64_t room = quiet_until(first, other) - times_[other];
      const std::int64_t count = std::min({step_a.count - a.done - 1, step_b.count - b.done - 1,
                                           (room + step_a.stride - 1) / step_a.stride});
      if (count < 1) continue;
      issue(first, count);
      issue(other, count);
      return true;
    }
    return false;
  }

  void issue(std::size_t index, std::int64_t count) {
    Lane& lane = lanes_[index];
    const PimRow& row = row_of(lane);
    const PimStep& step = row.steps[lane.step];
    if (listener_) listener_(times_[index], static_cast<std::int64_t>(index), step);
    lane.last_issue = now_ = times_[index] + (count - 1) * step.stride;
    lane.num_issued += count;
    lane.done += count;
    lane.gap = step.stride;
    if (step.command == PimCommand::kActivate) lane.last_activate = now_;
    if (lane.done < step.count) return;
    lane.done = 0;
    if (++lane.step < row.steps.size()) {
      lane.gap = row.steps[lane.step].gap;
      return;
    }
    lane.step = 0;
    lane.gap = row.next_gap;
    ++lane.offset;
    lane.skip_empty();
  }

  // Nothing can issue before `time`, which lies at or after the next multiple of the interval.
  void pass_boundary(std::int64_t time) {
    if (refresh_.duration > 0) {
      std::int64_t at = std::max(boundary_, now_ + 1);
      for (const Lane& lane : lanes_) at = std::max(at, lane.last_issue + refresh_.precharge);
      if (listener_) listener_(at, -1, {.command = PimCommand::kRefresh});
      now_ = at;
      refreshed_ = at + refresh_.duration;
      boundary_ += refresh_.interval;
    } else {
      boundary_ = next_multiple(time + 1, refresh_.interval);
    }
    if (!listener_) skip_repetition();
  }

  using Key = std::vector<std::int64_t>;

  // All that the future depends on, times counted from the boundary; with or without the place in
  // the run.
  Key state(bool with_offset) const {
    Key key;
    key.reserve(lanes_.size() * 9 + 1);
    key.push_back(std::max(refreshed_ - boundary_, -refresh_.interval));
    std::int64_t first_issued = -1;  // of those that still compete
    for (const Lane& lane : lanes_) {
      if (lane.is_finished()) {
        key.push_back(-1);
        continue;
      }
      const bool waits = lane.step == 0;
      if (first_issued < 0) first_issued = lane.num_issued;
      key.push_back(static_cast<std::int64_t>(lane.section));
      key.push_back(static_cast<std::int64_t>(lane.run));
      key.push_back(with_offset ? lane.offset : lane.turn);
      key.push_back(static_cast<std::int64_t>(lane.step));
      key.push_back(lane.done);
      key.push_back(waits ? ready_time(lane) - boundary_ : lane.last_issue + lane.gap - boundary_);
      key.push_back(waits ? 0 : lane.last_activate - boundary_);
      key.push_back(lane.num_issued - first_issued);
    }
    key.push_back(now_ - boundary_);
    return key;
  }

  struct Moment {
    std::int64_t boundary = 0;
    std::vector<Lane> lanes;
  };

  void skip_repetition() {
    for (const bool whole_turns : {true, false}) {
      auto& seen = whole_turns ? seen_turns_ : seen_runs_;
      const auto [it, is_new] = seen.try_emplace(state(whole_turns));
      if (!is_new && jump(it->second, whole_turns)) return;
      it->second = {boundary_, lanes_};
    }
  }

  // How many rows or turns the lane may still go in steps of what it went since `before`, staying
  // in its section or run; kNever if it did not move.
  static std::int64_t repetitions_left(const Lane& before, const Lane& lane, bool whole_turns) {
    if (lane.is_finished()) return kNever;
    const std::int64_t went = whole_turns ? lane.turn - before.turn : lane.offset - before.offset;
    const std::int64_t end = whole_turns ? lane.now().repeats : lane.now().runs[lane.run].count;
    const std::int64_t at = whole_turns ? lane.turn : lane.offset;
    return went == 0 ? kNever : (end - 1 - at) / went;
  }

  bool jump(const Moment& before, bool whole_turns) {
    std::int64_t times = kNever;
    for (std::size_t i = 0; i < lanes_.size(); ++i) {
      times = std::min(times, repetitions_left(before.lanes[i], lanes_[i], whole_turns));
    }
    if (times == kNever || times < 1) return false;
    const auto ahead = [&](std::int64_t now, std::int64_t then) {
      std::int64_t way = 0;
      std::int64_t sum = 0;
      if (__builtin_mul_overflow(now - then, times, &way) ||
          __builtin_add_overflow(now, way, &sum) || sum > kNever / 4) {
        throw ConfigError("processing in memory: the cycles do not fit in 63 bits");
      }
      return sum;
    };
    const std::int64_t time = ahead(boundary_, before.boundary) - boundary_;
    for (std::size_t i = 0; i < lanes_.size(); ++i) {
      Lane& lane = lanes_[i];
      const Lane& old = before.lanes[i];
      if (!lane.is_finished()) {
        lane.last_issue += time;
        lane.last_activate += time;
      }
      lane.num_issued = ahead(lane.num_issued, old.num_issued);
      std::int64_t& place = whole_turns ? lane.turn : lane.offset;
      place = ahead(place, whole_turns ? old.turn : old.offset);
    }
    boundary_ += time;
    now_ += time;
    refreshed_ += time;
    return true;
  }

  const std::vector<PimRow>& rows_;
  const PimRefresh& refresh_;
  const PimListener& listener_;
  std::vector<Lane> lanes_;
  std::vector<std::int64_t> times_;  // of each lane's next command
  std::int64_t now_ = 0;             // cycle of the last command
  std::int64_t boundary_;            // next multiple of the refresh interval to be passed
  std::int64_t refreshed_ = 0;       // no row starts before
  std::map<Key, Moment> seen_turns_;
  std::map<Key, Moment> seen_runs_;
};

}  // namespace

std::int64_t simulate_pim_channel(const std::vector<PimRow>& rows,
                                  const std::vector<std::vector<PimSection>>& plans,
                                  const PimRefresh& refresh, const PimListener& listener) {
  return Channel(rows, plans, refresh, listener).run();
}

}  // namespace lowbank::pim
