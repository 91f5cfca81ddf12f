#include "sim/network/flow_file.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "inputs/fields.hpp"
#include "inputs/json.hpp"
#include "units/error.hpp"

namespace meshsim {
namespace {

constexpr std::string_view first_fastest[] = {"x", "x + X*y", "x + X*(y + Y*z)"};
constexpr std::string_view last_fastest[] = {"x", "y + Y*x", "z + Z*(y + Y*x)"};
constexpr double longest_s = 1e6;  // picoseconds reach 9.2e6 s

std::int64_t integer_item(const Node& node, const std::string& path, std::int64_t most,
                          Diagnostics& faults) {
  const Parsed<std::int64_t> value =
      node.kind == Node::Kind::scalar && !node.quoted
          ? parse_integer(node.text)
          : Parsed<std::int64_t>::refused("is not an integer (got " + described(node) + ")");
  if (value && value.value() >= 0 && value.value() <= most) return value.value();
  faults.add({node.where,
              path,
              value ? fmt::format("must be 0 to {} (got {})", most, value.value()) : value.why(),
              {}});
  return 0;
}

// Every axis wraps; one of a single node has no links.
Torus torus_of(Fields& fields, const Node& root, Diagnostics& faults) {
  const std::vector<std::int64_t> shape = fields.integers("torus");
  const Node* node = root.find("torus");
  faults.throw_if_any();
  try {
    if (shape.empty() || shape.size() > 3) {
      throw Error(ErrorKind::invalid_input,
                  fmt::format("a torus has 1 to 3 axes (got {})", shape.size()));
    }
    return Torus(shape, std::vector<bool>(shape.size(), true));
  } catch (const Error& error) {
    throw Error(error.kind(),
                Diagnostic{node->where, "torus", error.diagnostics().front().what, {}});
  }
}

std::optional<LinkId> link_between(const Torus& torus, ChipId from, ChipId to) {
  for (std::size_t axis = 0; axis < torus.shape().size(); ++axis) {
    for (const Direction direction : {Direction::positive, Direction::negative}) {
      const std::optional<LinkId> id = torus.find_link(from, axis, direction);
      if (id && torus.link(*id).to == to) return id;
    }
  }
  return std::nullopt;
}

class FlowReader {
 public:
  FlowReader(FlowFile& file, Diagnostics& faults) : file_(file), faults_(faults) {}

  FileFlow read(const Node& node, const std::string& path) {
    FileFlow flow;
    if (node.kind != Node::Kind::mapping) {
      faults_.add({node.where, path, "must be a flow (got " + described(node) + ")", {}});
      return flow;
    }
    Fields fields(node, path, faults_);
    const IntegerRange nodes{0, file_.torus.chips() - 1};
    flow.src = fields.integer("src", nodes);
    flow.dst = fields.integer("dst", nodes);
    flow.bytes = Bytes(fields.integer("bytes", {0, largest_exact_integer}));
    flow.start = start(fields, node, path);
    if (fields.has("links")) {
      if (const Node* links = fields.node("links")) read_route(*links, path + ".links", flow);
    }
    flow.collective = collective(fields.has("collective") ? fields.text("collective") : "");
    fields.ignore("finish_s");
    fields.finish();
    return flow;
  }

 private:
  std::int32_t collective(const std::string& name) {
    std::vector<std::string>& known = file_.collectives;
    const auto found = std::find(known.begin(), known.end(), name);
    const auto at = static_cast<std::int32_t>(found - known.begin());
    if (found == known.end()) known.push_back(name);
    return at;
  }

  Picoseconds start(Fields& fields, const Node& node, const std::string& path) {
    if (!fields.has("start_s")) return {};
    const double seconds = fields.real("start_s");
    if (seconds >= 0 && seconds <= longest_s) return picoseconds_from_seconds(seconds);
    faults_.add({node.find("start_s")->where,
                 path + ".start_s",
                 fmt::format("must be 0 to {} s (got {})", longest_s, seconds),
                 {}});
    return {};
  }

  void read_route(const Node& links, const std::string& path, FileFlow& flow) {
    flow.has_route = true;
    if (links.kind != Node::Kind::sequence) {
      faults_.add({links.where, path, "must be a list of [from, to]", {}});
      return;
    }
    std::int64_t at = flow.src;
    for (std::size_t hop = 0; hop < links.items.size(); ++hop) {
      const Node& pair = links.items[hop];
      const std::string place = fmt::format("{}[{}]", path, hop);
      if (pair.kind != Node::Kind::sequence || pair.items.size() != 2) {
        faults_.add({pair.where, place, "must be [from, to] (got " + described(pair) + ")", {}});
        return;
      }
      const std::int64_t last = file_.torus.chips() - 1;
      const std::int64_t from = integer_item(pair.items[0], place, last, faults_);
      const std::int64_t to = integer_item(pair.items[1], place, last, faults_);
      const std::optional<LinkId> link =
          link_between(file_.torus, file_.chip(from), file_.chip(to));
      if (from != at || !link) {
        faults_.add({pair.where,
                     place,
                     from != at ? fmt::format("the route is not connected: it is at node {} and "
                                              "goes on from {}",
                                              at, from)
                                : fmt::format("no link leads from node {} to {}", from, to),
                     {}});
        return;
      }
      if (std::find(flow.links.begin(), flow.links.end(), *link) != flow.links.end()) {
        faults_.add({pair.where, place, "the route takes this link a second time", {}});
        return;
      }
      flow.links.push_back(*link);
      at = to;
    }
    if (at != flow.dst) {
      faults_.add(
          {links.where,
           path,
           fmt::format("the route is not connected: it ends at node {}, not at {}", at, flow.dst),
           {}});
    }
  }

  FlowFile& file_;
  Diagnostics& faults_;
};

}  // namespace

ChipId FlowFile::chip(std::int64_t node) const {
  if (!first_axis_fastest) return node;
  std::vector<std::int64_t> coordinates;
  for (const std::int64_t size : torus.shape()) {
    coordinates.push_back(node % size);
    node /= size;
  }
  return torus.chip_at(coordinates);
}

std::int64_t FlowFile::node(ChipId chip) const {
  if (!first_axis_fastest) return chip;
  std::int64_t node = 0;
  for (std::size_t axis = torus.shape().size(); axis-- > 0;)
    node = node * torus.shape()[axis] + torus.coordinate(chip, axis);
  return node;
}

FlowFile parse_flow_file(const Source& source) {
  const Node root = parse_json(source);
  Diagnostics faults;
  if (root.kind != Node::Kind::mapping) {
    throw Error(
        ErrorKind::invalid_input,
        Diagnostic{root.where, {}, "must be a flow file (got " + described(root) + ")", {}});
  }
  Fields fields(root, "", faults);
  const std::vector<std::string> schemas{"flow-crosscheck/1"};
  fields.choice("schema", schemas);
  Torus torus = torus_of(fields, root, faults);
  const std::size_t rank = torus.shape().size();
  const std::vector<std::string> rules{std::string(first_fastest[rank - 1]),
                                       std::string(last_fastest[rank - 1])};
  const bool first = !fields.has("node_id") || fields.choice("node_id", rules) == rules[0];
  const double bandwidth = fields.real("link_bytes_per_s");
  if (!(bandwidth > 0 && bandwidth <= 1e18) && root.find("link_bytes_per_s") != nullptr) {
    faults.add({root.find("link_bytes_per_s")->where,
                "link_bytes_per_s",
                fmt::format("must be above 0 and at most 1e18 (got {})", bandwidth),
                {}});
  }
  const double latency = fields.has("latency_s") ? fields.real("latency_s") : 0;
  if (!(latency >= 0 && latency <= 1)) {
    faults.add({root.find("latency_s")->where,
                "latency_s",
                fmt::format("must be 0 to 1 s (got {})", latency),
                {}});
  }
  for (const char* known : {"rule", "solver", "makespan_s"}) fields.ignore(known);
  std::string name = fields.has("name") ? fields.text("name") : source.name;
  const Node* flows = fields.node("flows");
  fields.finish();
  faults.throw_if_any();
  FlowFile file{std::move(name),
                std::move(torus),
                first,
                BytesPerSecond(bandwidth),
                picoseconds_from_seconds(latency),
                {},
                {}};
  if (flows->kind != Node::Kind::sequence) {
    throw Error(
        ErrorKind::invalid_input,
        Diagnostic{flows->where, "flows", "must be a list (got " + described(*flows) + ")", {}});
  }
  FlowReader reader(file, faults);
  for (std::size_t i = 0; i < flows->items.size(); ++i)
    file.flows.push_back(reader.read(flows->items[i], fmt::format("flows[{}]", i)));
  faults.throw_if_any();
  return file;
}

}  // namespace meshsim
