#include "studies/sweep/ranks.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

namespace meshsim {
namespace {

constexpr std::int64_t stretches_at_hand = 2;  // one to judge, one to go on with

// Between two looks at what others say: as long as nobody waits for it, seldom. A look costs the
// rank some microseconds of its cores and more of their caches.
constexpr std::chrono::microseconds soon{300}, later{4000};

}  // namespace

SweepRanks::~SweepRanks() { stop_listening(); }

void SweepRanks::stop_listening() {
  quiet_ = true;
  if (thread_.joinable()) thread_.join();
}

std::optional<Message> SweepRanks::next(int from) {
  const std::lock_guard lock(mutex_);
  return ranks_.next(from);
}

void SweepRanks::post(int to, Message message) {
  const std::lock_guard lock(mutex_);
  ranks_.post(to, std::move(message));
}

void SweepRanks::listen() {
  try {
    while (!quiet_) {
      const bool heard = hear();
      const bool answered = is_first() && answer();
      if (!heard && !answered) std::this_thread::sleep_for(waits_ ? soon : later);
    }
  } catch (...) {
    failure_ = std::current_exception();
    failed_ = true;
    stop_ = true;
  }
}

// Whether anybody had something to say.
bool SweepRanks::hear() {
  bool any = false;
  const int first = is_first() ? 1 : 0, last = is_first() ? size() : 1;
  for (int rank = first; rank < last; ++rank) {
    while (const std::optional<Message> message = next(rank)) {
      any = true;
      hear_of(rank, *message);
    }
  }
  return any;
}

void SweepRanks::hear_of(int rank, const Message& message) {
  const auto at = static_cast<std::size_t>(rank);
  switch (word_of(message)) {
    case Word::want: ++wanted_[at]; break;
    case Word::found:
      if (leader_.keep) leader_.keep(read_found(message));
      break;
    case Word::block: leader_.arrived(read_block(message)); break;
    case Word::end:
      if (read_end(message)) stop_ = true;
      wanted_[at] = 0;
      ended_[at] = true;
      break;
    case Word::plans: {
      const PlansOrder order = read_plans(message);
      store_ = order.store;
      const std::lock_guard lock(dealt_mutex_);
      dealt_.push_back(order.range);
      break;
    }
    case Word::stop: stop_ = true; break;
  }
}

// Gives plans to those who want some.
bool SweepRanks::answer() {
  bool any = false;
  for (int rank = 1; rank < size() && !stop_; ++rank) {
    std::int64_t& wanted = wanted_[static_cast<std::size_t>(rank)];
    while (wanted > 0) {
      const std::optional<PlanRange> range = leader_.deal();
      if (!range) return any;
      post(rank, plans_message(*range, static_cast<bool>(leader_.keep)));
      --wanted;
      any = true;
    }
  }
  return any;
}

void SweepRanks::lead(Leader leader) {
  leader_ = std::move(leader);
  wanted_.assign(static_cast<std::size_t>(size()), 0);
  ended_ = std::vector<std::atomic<bool>>(static_cast<std::size_t>(size()));
  thread_ = std::thread([this] { listen(); });
}

void SweepRanks::wait_until(const std::function<bool()>& done) {
  while (!done()) {
    waits_ = true;
    std::this_thread::sleep_for(soon);
  }
  waits_ = false;
}

void SweepRanks::end_all() {
  for (int rank = 1; rank < size(); ++rank) post(rank, plain(Word::stop));
  stop_ = true;
  const auto all_ended = [this] {
    return std::all_of(ended_.begin() + 1, ended_.end(),
                       [](const std::atomic<bool>& one) { return one.load(); });
  };
  // A thread that failed hears nobody any more.
  wait_until([&] { return all_ended() || failed_; });
  stop_listening();
  if (failure_) std::rethrow_exception(failure_);
}

std::optional<PlanRange> SweepRanks::take(const std::function<bool()>& stop) {
  if (!thread_.joinable()) {
    thread_ = std::thread([this] { listen(); });
    for (std::int64_t i = 1; i < stretches_at_hand; ++i) post(0, plain(Word::want));
  }
  post(0, plain(Word::want));
  std::optional<PlanRange> range;
  wait_until([&] {
    if (stop_ || stop()) return true;
    const std::lock_guard lock(dealt_mutex_);
    if (dealt_.empty()) return false;
    range = dealt_.front();
    dealt_.pop_front();
    return true;
  });
  return range;
}

void SweepRanks::send(const std::vector<StoredPlan>& plans) { post(0, found_message(plans)); }

void SweepRanks::send(const JudgedBlock& block) { post(0, block_message(block)); }

void SweepRanks::end(bool interrupted) {
  post(0, end_message(interrupted));
  wait_until([this] { return stop_.load(); });
  stop_listening();
  if (failure_) std::rethrow_exception(failure_);
}

}  // namespace meshsim
