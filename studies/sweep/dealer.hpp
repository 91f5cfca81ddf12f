// Which plans of a sweep are judged next: stretches of them, dealt out in their order.
//
// A stretch is as long as takes about a quarter of a second, by what plans have taken so far, and
// shorter towards the end: neighbours share work, so that long ones are judged fastest, but nobody
// should wait long for the last of them. What comes out of a sweep does not depend on the lengths.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

namespace meshsim {

struct PlanRange {
  std::int64_t first = 0, plans = 0;
};

class Dealer {
 public:
  // `known`: by plan, whether the store holds it; empty if it holds none. `workers`: threads of all
  // ranks. `most_ahead`: of what is done; 0: any number.
  Dealer(std::int64_t total, std::vector<bool> known, int workers, std::int64_t most_ahead);

  struct Answer {
    std::optional<PlanRange> range;
    bool later = false;  // without a range: ask again, too much is under way
  };
  // Plans that the store does not hold.
  Answer unknown();
  // Those, or plans that it does hold, whichever come first.
  Answer any();

  void judged(std::int64_t plans, double seconds);
  void done(std::int64_t plans);  // all before this one

 private:
  std::int64_t first(std::int64_t from, bool known) const;
  Answer deal(std::int64_t& next, bool known);

  const std::int64_t total_;
  const std::vector<bool> known_;
  const std::int64_t workers_, most_ahead_;
  std::mutex mutex_;  // of what follows
  std::int64_t next_unknown_ = 0, next_known_ = 0, done_ = 0;
  double judged_ = 0, seconds_ = 0;
};

}  // namespace meshsim
