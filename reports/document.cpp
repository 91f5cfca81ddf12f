#include "reports/document.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <array>
#include <cmath>

#include "plans/config_hash.hpp"
#include "units/parse.hpp"

namespace meshsim {
namespace {

constexpr std::string_view schema_root = "https://meshsim.dev/schema/";

void refuse_non_finite(const Json& value) {
  if (value.is_number_float() && !std::isfinite(value.get<double>())) {
    throw Error(ErrorKind::internal, "a report holds a number that is not finite");
  }
  if (!value.is_structured()) return;
  for (const Json& inner : value) refuse_non_finite(inner);
}

}  // namespace

std::string sha256(const std::string& text) {
  std::array<unsigned char, 32> digest{};
  unsigned int length = 0;
  EVP_Digest(text.data(), text.size(), digest.data(), &length, EVP_sha256(), nullptr);
  std::string hex;
  for (const unsigned char byte : digest) hex += fmt::format("{:02x}", byte);
  return hex;
}

Json report_head(std::string_view kind) {
  return {{"$schema", fmt::format("{}{}/1", schema_root, kind)},
          {"format_version", "1.0"},
          {"kind", kind}};
}

Json provenance(const ResolvedConfig& config) {
  return {{"version", version},
          {"config_sha256", hash_of(config).hex()},
          {"calibration_sha256", sha256(config.calibration->file.text)},
          {"seed", 0}};
}

Json value_json(const Node& value) {
  switch (value.kind) {
    case Node::Kind::null: return nullptr;
    case Node::Kind::scalar: {
      if (value.quoted) return value.text;
      if (value.text == "None") return nullptr;
      if (const auto integer = parse_integer(value.text)) return integer.value();
      if (const auto real = parse_real(value.text)) return real.value();
      if (const auto flag = parse_bool(value.text)) return flag.value();
      return value.text;
    }
    case Node::Kind::sequence: {
      Json list = Json::array();
      for (const Node& item : value.items) list.push_back(value_json(item));
      return list;
    }
    case Node::Kind::mapping: {
      Json object = Json::object();
      for (const Member& member : value.members) object[member.key] = value_json(member.value);
      return object;
    }
  }
  return nullptr;
}

Json resolved_json(const ResolvedConfig& config) {
  Json all = Json::object();
  for (const Setting& setting : config.settings) {
    Json value = value_json(setting.value);
    const bool shown = !is_secret(setting.key) || value == Json("") || value.is_null();
    all[setting.key] = {{"value", shown ? std::move(value) : Json("<redacted>")},
                        {"origin", name(setting.origin)}};
  }
  for (const auto& [key, setting] : config.own) {
    all["meshsim." + key] = {{"value", value_json(setting.value)},
                             {"origin", name(setting.origin)}};
  }
  return all;
}

Json interval_json(const std::optional<PredictionInterval>& interval, std::string_view unit,
                   double scale) {
  if (!interval) return nullptr;
  return {{fmt::format("low_{}", unit), static_cast<std::int64_t>(interval->low * scale)},
          {fmt::format("high_{}", unit), static_cast<std::int64_t>(interval->high * scale)},
          {"coverage_ratio", interval_coverage}};
}

std::string json_text(const Json& document) {
  refuse_non_finite(document);
  return document.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace meshsim
