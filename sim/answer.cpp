#include "sim/answer.hpp"

#include <map>
#include <string>

namespace meshsim {
namespace {

void add_memory(const Evaluation& evaluation, Answer& answer) {
  for (const std::string& category : state_categories())
    answer.memory.emplace_back(category, evaluation.state.on_device(category));
  if (!evaluation.step) return;
  for (const auto& [category, bytes] : evaluation.step->memory.categories)
    answer.memory.emplace_back("temp:" + category, bytes);
}

void add_time(const Step& step, Answer& answer) {
  std::map<std::string_view, Picoseconds> causes;
  for (const TimePart& part : step.timeline.parts) causes[part.cause] += part.time;
  for (const auto& [cause, time] : causes) answer.time.emplace_back(cause, time);
}

}  // namespace

Answer answer_of(const Evaluation& evaluation) {
  Answer answer;
  answer.verdict = evaluation.verdict();
  answer.arguments = evaluation.state.arguments();
  answer.temp = evaluation.temp();
  answer.on_host = evaluation.on_host();
  answer.hbm_usable = evaluation.hbm_usable();
  add_memory(evaluation, answer);
  if (!evaluation.step) return answer;
  const Step& step = *evaluation.step;
  answer.timed = true;
  answer.prefetch = step.prefetch;
  answer.step_time = step.timeline.total;
  answer.mfu = step.mfu;
  answer.tokens_per_s_per_device = step.tokens_per_s_per_device;
  add_time(step, answer);
  return answer;
}

}  // namespace meshsim
