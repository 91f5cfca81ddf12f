#include "studies/sweep/messages.hpp"

#include <cstring>

#include "units/error.hpp"

namespace meshsim {
namespace {

class Writer {
 public:
  explicit Writer(Word word) { number(word); }

  template <class Number>
  void number(Number value) {
    append(&value, sizeof value);
  }
  void text(const std::string& value) {
    number(static_cast<std::uint64_t>(value.size()));
    append(value.data(), value.size());
  }
  Message take() { return std::move(message_); }

 private:
  void append(const void* from, std::size_t size) {
    const std::size_t end = message_.size();
    message_.resize(end + size);
    if (size > 0) std::memcpy(message_.data() + end, from, size);
  }

  Message message_;
};

class Reader {
 public:
  explicit Reader(const Message& message) : message_(message) { number<Word>(); }

  template <class Number>
  Number number() {
    Number value;
    std::memcpy(&value, part(sizeof value), sizeof value);
    return value;
  }
  std::string text() {
    const auto size = number<std::uint64_t>();
    return {reinterpret_cast<const char*>(part(size)), size};
  }
  bool at_end() const { return at_ == message_.size(); }

 private:
  const std::byte* part(std::size_t size) {
    if (message_.size() - at_ < size)
      throw Error(ErrorKind::internal, "a message between ranks is cut short");
    at_ += size;
    return message_.data() + at_ - size;
  }

  const Message& message_;
  std::size_t at_ = 0;
};

void write_outcome(Writer& to, const SweepOutcome& outcome) {
  to.number(outcome.verdict);
  to.number(static_cast<std::uint8_t>((outcome.step_time ? 1 : 0) + (outcome.peak ? 2 : 0) +
                                      (outcome.peak_is_least ? 4 : 0)));
  to.number(outcome.step_time.value_or(Picoseconds()).value());
  to.number(outcome.tokens_per_s_per_device);
  to.number(outcome.mfu);
  to.number(outcome.fit_probability);
  to.number(outcome.peak.value_or(Bytes()).value());
  to.text(outcome.reason);
  to.text(outcome.cause);
}

SweepOutcome read_outcome(Reader& from) {
  SweepOutcome outcome;
  outcome.verdict = from.number<SweepVerdict>();
  const auto has = from.number<std::uint8_t>();
  const Picoseconds time(from.number<std::int64_t>());
  outcome.tokens_per_s_per_device = from.number<double>();
  outcome.mfu = from.number<double>();
  outcome.fit_probability = from.number<double>();
  const Bytes peak(from.number<std::int64_t>());
  if ((has & 1U) != 0) outcome.step_time = time;
  if ((has & 2U) != 0) outcome.peak = peak;
  outcome.peak_is_least = (has & 4U) != 0;
  outcome.reason = from.text();
  outcome.cause = from.text();
  return outcome;
}

void write_row(Writer& to, const SweepRow& row) {
  to.number(row.index);
  to.text(row.plan_hash);
  to.number(row.chips);
  to.number(row.tokens_per_chip_hour);
  write_outcome(to, row.outcome);
  to.number(static_cast<std::uint8_t>(row.upkeep ? 1 : 0));
  if (row.upkeep) {
    to.number(row.upkeep->goodput);
    to.number(row.upkeep->checkpoint_interval);
    to.number(static_cast<std::uint8_t>(row.upkeep->cost_per_trillion_tokens ? 1 : 0));
    to.number(row.upkeep->cost_per_trillion_tokens.value_or(0));
  }
  to.text(row.change);
  to.text(row.command);
}

SweepRow read_row(Reader& from) {
  SweepRow row;
  row.index = from.number<std::int64_t>();
  row.plan_hash = from.text();
  row.chips = from.number<std::int64_t>();
  row.tokens_per_chip_hour = from.number<double>();
  row.outcome = read_outcome(from);
  if (from.number<std::uint8_t>() != 0) {
    SweepRow::Upkeep upkeep;
    upkeep.goodput = from.number<double>();
    upkeep.checkpoint_interval = from.number<double>();
    const bool priced = from.number<std::uint8_t>() != 0;
    const auto cost = from.number<double>();
    if (priced) upkeep.cost_per_trillion_tokens = cost;
    row.upkeep = upkeep;
  }
  row.change = from.text();
  row.command = from.text();
  return row;
}

void write_part(Writer& to, const SummaryPart& part) {
  to.number(part.plans);
  to.number(static_cast<std::uint64_t>(part.verdicts.size()));
  for (const auto& [verdict, count] : part.verdicts) {
    to.number(verdict);
    to.number(count);
  }
  to.number(static_cast<std::uint64_t>(part.rejected.size()));
  for (const auto& [cause, rejected] : part.rejected) {
    to.text(cause);
    to.number(rejected.count);
    to.text(rejected.example);
  }
  to.number(static_cast<std::uint64_t>(part.standing_out.size()));
  for (const SweepRow& row : part.standing_out) write_row(to, row);
}

SummaryPart read_part(Reader& from) {
  SummaryPart part;
  part.plans = from.number<std::int64_t>();
  for (auto left = from.number<std::uint64_t>(); left > 0; --left) {
    const auto verdict = from.number<SweepVerdict>();
    part.verdicts[verdict] = from.number<std::int64_t>();
  }
  for (auto left = from.number<std::uint64_t>(); left > 0; --left) {
    SweepSummary::Rejected& rejected = part.rejected[from.text()];
    rejected.count = from.number<std::int64_t>();
    rejected.example = from.text();
  }
  for (auto left = from.number<std::uint64_t>(); left > 0; --left)
    part.standing_out.push_back(read_row(from));
  return part;
}

}  // namespace

Word word_of(const Message& message) {
  if (message.empty()) throw Error(ErrorKind::internal, "an empty message between ranks");
  return static_cast<Word>(message.front());
}

Message plain(Word word) { return Writer(word).take(); }

Message plans_message(const PlanRange& range, bool store) {
  Writer to(Word::plans);
  to.number(range.first);
  to.number(range.plans);
  to.number(static_cast<std::uint8_t>(store));
  return to.take();
}

PlansOrder read_plans(const Message& message) {
  Reader from(message);
  PlansOrder order;
  order.range.first = from.number<std::int64_t>();
  order.range.plans = from.number<std::int64_t>();
  order.store = from.number<std::uint8_t>() != 0;
  return order;
}

Message found_message(const std::vector<StoredPlan>& plans) {
  Writer to(Word::found);
  for (const StoredPlan& plan : plans) {
    to.number(plan.index);
    to.text(plan.judgement.plan_hash);
    write_outcome(to, plan.judgement.outcome);
  }
  return to.take();
}

std::vector<StoredPlan> read_found(const Message& message) {
  Reader from(message);
  std::vector<StoredPlan> plans;
  while (!from.at_end()) {
    StoredPlan& plan = plans.emplace_back();
    plan.index = from.number<std::int64_t>();
    plan.judgement.plan_hash = from.text();
    plan.judgement.outcome = read_outcome(from);
  }
  return plans;
}

Message block_message(const JudgedBlock& block) {
  Writer to(Word::block);
  to.number(block.range.first);
  to.number(block.range.plans);
  to.number(block.seconds);
  to.text(block.text);
  write_part(to, block.part);
  return to.take();
}

JudgedBlock read_block(const Message& message) {
  Reader from(message);
  JudgedBlock block;
  block.range.first = from.number<std::int64_t>();
  block.range.plans = from.number<std::int64_t>();
  block.seconds = from.number<double>();
  block.text = from.text();
  block.part = read_part(from);
  return block;
}

Message end_message(bool interrupted) {
  Writer to(Word::end);
  to.number(static_cast<std::uint8_t>(interrupted));
  return to.take();
}

bool read_end(const Message& message) { return Reader(message).number<std::uint8_t>() != 0; }

}  // namespace meshsim
