#include "inputs/json.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

namespace meshsim {
namespace {

// How far the lexer has read: one character beyond a number, exactly to the end of other tokens.
struct Progress {
  std::string_view text;
  std::size_t offset = 0;
};

class TrackingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  TrackingIterator(Progress* progress, std::size_t offset) : progress_(progress), offset_(offset) {}
  reference operator*() const { return progress_->text[offset_]; }
  TrackingIterator& operator++() {
    ++offset_;
    progress_->offset = offset_;
    return *this;
  }
  TrackingIterator operator++(int) {
    TrackingIterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const TrackingIterator& other) const { return offset_ == other.offset_; }
  bool operator!=(const TrackingIterator& other) const { return offset_ != other.offset_; }

 private:
  Progress* progress_;
  std::size_t offset_;
};

// Where the tokens are. The lexer does not tell where a token starts; but as it reports all tokens
// save ',' and ':', the next one starts at the first character that is none of these nor a space.
class TokenPlaces {
 public:
  TokenPlaces(const std::string& file, std::string_view text) : file_(file), text_(text) {}

  // Moves on to the next token and returns its place.
  Location next() {
    constexpr std::string_view between = " \t\n,:";
    for (; at_ < text_.size() && between.find(text_[at_]) != std::string_view::npos; ++at_) {
      if (text_[at_] == '\n') {
        ++line_;
        line_start_ = at_ + 1;
      }
    }
    return {file_, line_, static_cast<int>(at_ - line_start_) + 1};
  }

  // The token ends before `offset`; or it is a number, and ends where its characters do.
  void end_at(std::size_t offset) { at_ = offset; }
  std::string take_number() {
    const std::size_t start = at_;
    at_ = std::min(text_.find_first_not_of("0123456789+-.eE", at_), text_.size());
    return std::string(text_.substr(start, at_ - start));
  }

 private:
  const std::string& file_;
  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t line_start_ = 0;
  int line_ = 1;
};

class TreeBuilder : public nlohmann::json_sax<nlohmann::json> {
 public:
  TreeBuilder(const std::string& file, const Progress& progress, std::size_t most_values)
      : file_(file), progress_(progress), places_(file, progress.text), most_values_(most_values) {}

  Node take() { return std::move(root_); }

  bool null() override { return add(Node{}); }
  bool boolean(bool value) override { return add(scalar(value ? "true" : "false", false)); }
  // Of numbers nlohmann hands over a value that has lost "-0"; the text has not.
  bool number_integer(number_integer_t) override { return number(); }
  bool number_unsigned(number_unsigned_t) override { return number(); }
  bool number_float(number_float_t, const string_t&) override { return number(); }
  bool string(string_t& value) override { return add(scalar(std::move(value), true)); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override { return open(Node::Kind::mapping); }
  bool end_object() override { return close(); }
  bool start_array(std::size_t) override { return open(Node::Kind::sequence); }
  bool end_array() override { return close(); }
  bool key(string_t& name) override {
    Open& parent = stack_.back();
    const Location where = places_.next();
    const auto [earlier, is_new] = parent.lines.emplace(name, where.line);
    if (!is_new) {
      fail(where, fmt::format("the key {} stands twice", in_quotes(name)),
           fmt::format("it first stands at line {}", earlier->second));
    }
    places_.end_at(progress_.offset);
    parent.pending = Member{std::move(name), where, {}};
    return true;
  }
  bool parse_error(std::size_t, const std::string&,
                   const nlohmann::detail::exception& error) override {
    constexpr int number_overflow = 406;
    if (error.id == number_overflow) {
      const Location where = places_.next();
      fail(where, fmt::format("the number {} is out of range", in_quotes(places_.take_number())),
           {});
    }
    // "[json.exception...] parse error at line 1, column 2: syntax error while ...; last read:
    // ...": the reason is what stands between the position and the echo of the text.
    std::string_view reason = error.what();
    if (const auto colon = reason.find(": "); colon != reason.npos) reason.remove_prefix(colon + 2);
    reason = reason.substr(0, reason.find("; last read"));
    const bool truncated = reason.find("unexpected end of input") != reason.npos ||
                           reason.find("missing closing quote") != reason.npos;
    fail(last_read(), fmt::format("is not valid JSON: {}", reason),
         truncated ? "is the file truncated?" : "");
  }

 private:
  struct Open {
    Node node;
    std::optional<Member> pending;     // a key that waits for its value
    std::map<std::string, int> lines;  // of the keys so far
  };

  // The place of the last character that was read; on the way to an error only, as it counts lines.
  Location last_read() const {
    const std::string_view before =
        progress_.text.substr(0, std::max<std::size_t>(progress_.offset, 1) - 1);
    const auto line = std::count(before.begin(), before.end(), '\n') + 1;
    const std::size_t start = before.rfind('\n') + 1;  // npos + 1 == 0
    return {file_, static_cast<int>(line), static_cast<int>(before.size() - start) + 1};
  }

  [[noreturn]] static void fail(Location where, std::string what, std::string hint) {
    throw Error(ErrorKind::invalid_input,
                Diagnostic{std::move(where), {}, std::move(what), std::move(hint)});
  }

  static Node scalar(std::string text, bool quoted) {
    Node node;
    node.kind = Node::Kind::scalar;
    node.text = std::move(text);
    node.quoted = quoted;
    return node;
  }

  bool open(Node::Kind kind) {
    Open next;
    next.node.kind = kind;
    next.node.where = places_.next();
    if (stack_.size() >= static_cast<std::size_t>(max_depth)) {
      fail(next.node.where, fmt::format("is nested deeper than {} levels", max_depth), {});
    }
    places_.end_at(progress_.offset);
    stack_.push_back(std::move(next));
    return true;
  }

  bool close() {
    places_.next();
    places_.end_at(progress_.offset);
    Node done = std::move(stack_.back().node);
    stack_.pop_back();
    return place(std::move(done));
  }

  bool number() {
    const Location where = places_.next();
    Node node = scalar(places_.take_number(), false);
    node.where = where;
    return place(std::move(node));
  }

  bool add(Node node) {
    node.where = places_.next();
    places_.end_at(progress_.offset);
    return place(std::move(node));
  }

  bool place(Node node) {
    if (++nodes_ > most_values_) {
      fail(node.where, fmt::format("has more than {} values", most_values_), {});
    }
    if (stack_.empty()) {
      root_ = std::move(node);
      return true;
    }
    Open& parent = stack_.back();
    if (parent.node.kind == Node::Kind::sequence) {
      parent.node.items.push_back(std::move(node));
    } else {
      parent.pending->value = std::move(node);
      parent.node.members.push_back(std::move(*parent.pending));
      parent.pending.reset();
    }
    return true;
  }

  const std::string& file_;
  const Progress& progress_;
  TokenPlaces places_;
  Node root_;
  std::vector<Open> stack_;
  std::size_t most_values_, nodes_ = 0;
};

}  // namespace

Node parse_json(const Source& source) { return parse_long_json(source, max_nodes); }

Node parse_long_json(const Source& source, std::size_t most_values) {
  check_text(source);
  Progress progress{source.text};
  TreeBuilder builder(source.name, progress, most_values);
  nlohmann::json::sax_parse(TrackingIterator(&progress, 0),
                            TrackingIterator(&progress, source.text.size()), &builder);
  return builder.take();
}

}  // namespace meshsim
